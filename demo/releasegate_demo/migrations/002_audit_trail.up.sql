-- Every change to a table with health data leaves a row in the audit log, whoever makes it; appointments get a mode.

create function auth.record_change() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  changed bigint := case when tg_op = 'DELETE' then old.id else new.id end;
begin
  insert into public.audit_logs (user_id, action_type, resource_type, resource_id, action_description, severity)
  values (auth.uid(), lower(tg_op), tg_table_name, changed::text, 'row changed',
          case when tg_op = 'DELETE' then 'critical' else 'info' end);
  return null;
end $$;
revoke execute on function auth.record_change() from public;

create trigger audit_clients after insert or update or delete on public.clients
  for each row execute function auth.record_change();
create trigger audit_notes after insert or update or delete on public.notes
  for each row execute function auth.record_change();
create trigger audit_appointments after insert or update or delete on public.appointments
  for each row execute function auth.record_change();
create trigger audit_payments after insert or update or delete on public.payments
  for each row execute function auth.record_change();
create trigger audit_messages after insert or update or delete on public.messages
  for each row execute function auth.record_change();

-- What the log says stays: nobody whom the application is may change or remove it.
revoke update, delete, truncate on public.audit_logs from service_role;

create index audit_logs_created_at_idx on public.audit_logs (created_at desc);
create index audit_logs_user_id_idx on public.audit_logs (user_id);

alter table public.appointments add column mode text not null default 'in_person';
alter table public.appointments add constraint appointments_mode check (mode in ('in_person', 'video', 'phone'));
