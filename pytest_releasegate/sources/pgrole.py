"""The role with which gates look into a PostgreSQL database, as a script for its administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.sources.pgtables import quoted
from pytest_releasegate.sources.postgres import IDLE_SECONDS, LOCK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["role_script"]

_STATEMENT_SECONDS = 300
_SCRIPT = """\
-- The role with which release gates look into this server's databases: it reads, and owns nothing.
-- Read it, run it once as a superuser, then give the role a password: \\password {plain}
do $releasegate$ begin
  if not exists (select from pg_catalog.pg_roles where rolname = {literal}) then
    create role {name} login;
  end if;
end $releasegate$;

-- BYPASSRLS, so that counts are of all rows: without it they would be of those that a policy shows. It is not
-- inherited, so a persona that the role takes on sees what its policies show.
alter role {name} with login inherit nosuperuser nocreatedb nocreaterole noreplication bypassrls
  connection limit {limit};
grant pg_read_all_data, pg_monitor to {name};

-- READ ONLY unless a gate asks otherwise, and such a gate needs `probes` and always rolls back.
alter role {name} set default_transaction_read_only = on;
alter role {name} set statement_timeout = '{statement}s';
alter role {name} set lock_timeout = '{lock}s';
alter role {name} set idle_in_transaction_session_timeout = '{idle}s';
"""
_PERSONAS = """
-- The roles that gates take on to see what their users see: to be SET, and not inherited where the server knows that.
do $releasegate$ declare persona text; begin
  foreach persona in array array[{roles}] loop
    execute format('grant %I to {escaped}', persona) || case
      when current_setting('server_version_num')::int >= 160000 then ' with inherit false, set true' else '' end;
  end loop;
end $releasegate$;
"""


def role_script(name: str, personas: Sequence[str], connections: int) -> str:
    """The SQL for PostgreSQL 14 and newer; `connections` is the budget of the gates, one more is for a person."""
    script = _SCRIPT.format(
        plain=name,
        name=quoted(name),
        literal=_literal(name),
        limit=connections + 1,
        statement=_STATEMENT_SECONDS,
        lock=f"{LOCK_SECONDS:.0f}",
        idle=f"{IDLE_SECONDS:.0f}",
    )
    if not personas:
        return script.rstrip("\n")
    roles = ", ".join(_literal(persona) for persona in personas)
    escaped = quoted(name).replace("%", "%%").replace("'", "''")
    return (script + _PERSONAS.format(roles=roles, escaped=escaped)).rstrip("\n")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
