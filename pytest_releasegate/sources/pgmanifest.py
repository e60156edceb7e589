"""What a database holds, to be compared with a copy of it: its objects by name, and the rows of its tables.

Run as a program it writes a dump to standard output, and what it holds into the file that it is given. The database is
named by libpq's variables (PGHOST, PGDATABASE, ...); further words are options of pg_dump.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_releasegate.check import Context
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Environment, Release
from pytest_releasegate.sources.pgtables import RECORD_SCHEMA, count_rows, user_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

__all__ = ["Manifest", "dump", "read_manifest", "taken"]

_OBJECTS = """
with spaces as (
    select oid, nspname from pg_catalog.pg_namespace
    where nspname !~ '^pg_' and nspname not in ('information_schema', %(record)s)
), members as (
    select classid, objid from pg_catalog.pg_depend where deptype = 'e'
), relations as (
    select c.oid, n.nspname || '.' || c.relname as name, c.relkind from pg_catalog.pg_class c
    join spaces n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm', 'S', 'i', 'I')
    and not exists (select from members m where m.classid = 'pg_catalog.pg_class'::regclass and m.objid = c.oid)
)
select case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
            when 'i' then 'index' when 'I' then 'index' else 'table' end || ' ' || name
from relations
union all
select 'column ' || name || '.' || attname || ' ' || pg_catalog.format_type(atttypid, atttypmod)
       || case when attnotnull then ' not null' else '' end
from relations join pg_catalog.pg_attribute on attrelid = relations.oid and attnum > 0 and not attisdropped
where relkind in ('r', 'p')
union all
select 'constraint ' || conname || ' of ' || name || case when convalidated then '' else ', not valid' end
from relations join pg_catalog.pg_constraint on conrelid = relations.oid where contype in ('c', 'f', 'p', 'u', 'x')
union all
select 'trigger ' || tgname || ' of ' || name || case tgenabled::text when 'O' then '' else ', ' || tgenabled::text end
from relations join pg_catalog.pg_trigger on tgrelid = relations.oid where not tgisinternal
union all
select 'policy ' || polname || ' of ' || name from relations join pg_catalog.pg_policy on polrelid = relations.oid
union all
select 'row level security of ' || name from relations join pg_catalog.pg_class c using (oid) where c.relrowsecurity
union all
select 'function ' || n.nspname || '.' || proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')'
from pg_catalog.pg_proc p join spaces n on n.oid = p.pronamespace
where not exists (select from members m where m.classid = 'pg_catalog.pg_proc'::regclass and m.objid = p.oid)
union all
select 'type ' || n.nspname || '.' || typname from pg_catalog.pg_type t join spaces n on n.oid = t.typnamespace
where typtype in ('e', 'd')
and not exists (select from members m where m.classid = 'pg_catalog.pg_type'::regclass and m.objid = t.oid)
"""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rows of each table by its label, and the names of all objects; no objects where nobody wrote them down."""

    tables: Mapping[str, int]
    objects: frozenset[str] = field(default_factory=frozenset)

    def as_json(self) -> str:
        """How it is kept beside a dump."""
        return json.dumps({"tables": dict(self.tables), "objects": sorted(self.objects)}, indent=1)


def taken(connection: psycopg.Connection[Any], context: Context) -> Manifest:
    """What the database of this transaction holds."""
    tables = count_rows(connection, context, user_tables(connection), {})
    found = connection.execute(_OBJECTS, {"record": RECORD_SCHEMA}).fetchall()
    return Manifest(tables, frozenset(name for (name,) in found))


def read_manifest(path: Path) -> Manifest:
    """The manifest that was kept in a file; raises `CannotLook` where it is none."""
    wanted = 'expected {"tables": {"public.clients": 2000, ...}, "objects": [...]}, written when the dump was made'
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        tables = {str(name): int(number) for name, number in found["tables"].items()}
        return Manifest(tables, frozenset(map(str, found.get("objects", ()))))
    except OSError as error:
        raise CannotLook(f"the manifest {path} cannot be read: {error.strerror}", wanted) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CannotLook(f"the manifest {path} is not one", wanted) from None


def dump(command: Sequence[str], dsn: str = "", *, output: int | None = None) -> tuple[bytes, Manifest]:
    """Run pg_dump and count at the same time, both of one instant; raises `CalledProcessError` where it fails."""
    import psycopg

    release = Release(product="dump", version="0", environment="dump", opened_at=datetime.now(UTC))
    context = Context(environment=Environment(name="dump"), release=release, root=Path.cwd())
    with psycopg.connect(dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        ((snapshot,),) = connection.execute("select pg_export_snapshot()").fetchall()
        connection.execute("set local row_security = off")
        with subprocess.Popen([*command, "--format=custom", f"--snapshot={snapshot}"], stdout=output) as running:
            manifest = taken(connection, context)
            archive, _ = running.communicate()
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, command)
    return archive or b"", manifest


if __name__ == "__main__":
    _, held = dump([os.environ.get("PG_DUMP", "pg_dump"), *sys.argv[2:]])
    Path(sys.argv[1]).write_text(held.as_json(), encoding="utf-8")
