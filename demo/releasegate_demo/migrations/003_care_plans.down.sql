set local lock_timeout = '5s';

drop table public.care_plans;
drop index public.clients_preferred_name_idx;
alter table public.clients drop column preferred_name;
update public.payments set billing_code = 'S1001' where billing_code like 'P2%';
delete from public.billing_codes where code like 'P2%';
