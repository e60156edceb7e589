grant update, delete, truncate on public.audit_logs to service_role;
alter table public.appointments drop column mode;
drop index public.audit_logs_user_id_idx, public.audit_logs_created_at_idx;
drop trigger audit_messages on public.messages;
drop trigger audit_payments on public.payments;
drop trigger audit_appointments on public.appointments;
drop trigger audit_notes on public.notes;
drop trigger audit_clients on public.clients;
drop function auth.record_change();
