drop schema auth cascade;
drop table public.messages, public.payments, public.notes, public.appointments, public.portal_accounts, public.clients,
  public.staff, public.billing_codes, public.audit_logs, public.feature_flags, public.background_jobs, public.app_settings;
drop function public.client_by_number(text), public.client_number_of(bigint);
