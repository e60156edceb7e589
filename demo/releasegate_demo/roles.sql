-- Cluster-wide roles, made by the superuser. Passwords are set at each start.
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit connection limit 60;
create role app_owner login;
create role releasegate_probe login inherit bypassrls connection limit 10;

grant anon, authenticated, service_role to authenticator;
grant pg_read_all_data, pg_monitor to releasegate_probe;
grant anon, authenticated, service_role to releasegate_probe;

alter role releasegate_probe set default_transaction_read_only = on;
alter role releasegate_probe set statement_timeout = '60s';
alter role releasegate_probe set lock_timeout = '2s';
alter role releasegate_probe set idle_in_transaction_session_timeout = '60s';
alter role authenticator set statement_timeout = '15s';
alter role authenticator set idle_in_transaction_session_timeout = '30s';

create database ehr owner app_owner;
