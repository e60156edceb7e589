"""`rollback_sql`: the rollback script of the release, tried on a scratch copy and nowhere else."""

# ruff: noqa: S608  names are checked, and values are bound
from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, StrictInt, field_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgscratch import Content, Scratch, scratch
from pytest_releasegate.sources.postgres import connect
from pytest_releasegate.sources.rollbackscript import OPERATOR, DownFile, RollbackScript, down_files, dropped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import psycopg

    from pytest_releasegate.check import Clock, Context
    from pytest_releasegate.model import Finding

__all__ = ["RollbackSql"]

_NAME = re.compile(r'(?:[A-Za-z_][\w$]*|"(?:[^"]|"")+")(?:\.(?:[A-Za-z_][\w$]*|"(?:[^"]|"")+"))*')
_QUOTED = re.compile(r"\"[^\"]*\"|\([^()]*\)=\([^()]*\)")
_SHOWN = 3
_OWNER = """
select pg_catalog.pg_get_userbyid(datdba)::text from pg_catalog.pg_database where datname = current_database()
"""


class RollbackSql(Parameters):
    """The rollback script, written from the down files and run on a scratch copy; the denominator is what it verifies.

    `releasegate rollback-sql` prints the same script for the person who runs it on the target.

    ```yaml
    rollback_sql:
      down: [migrations/003_care_plans.down.sql]
      versions: ["003"]
      rows: {billing_codes: -120, clients: 0, payments: 0}
      audit: audit_logs
    ```
    """

    kind: ClassVar[str] = "rollback_sql"
    shorthand: ClassVar[str] = "down"

    down: list[str] = Field(min_length=1)
    """The files that take the release's migrations back, in the order in which they run."""
    up: list[str] = Field(default_factory=list)
    """The files that apply them; by default each `.down.sql` has its `.up.sql`."""
    versions: list[str] = Field(min_length=1)
    """The versions that they take back, as the version table has them."""
    version_table: str = "schema_migrations"
    """The version table."""
    version_column: str = "version"
    """Its column for the version."""
    unrecord: str = ""
    """The statement that takes the versions out of that table, where a DELETE is not right."""
    recorded: str = ""
    """The statement that puts them in, for the scratch copy; by default a row is copied with another version."""
    audit: str = ""
    """The audit log in which the script writes who ran it, with the columns of the reference checklist."""
    operator_type: str = "uuid"
    """The type of the audit log's `user_id`."""
    try_as: str = "00000000-0000-0000-0000-000000000000"
    """The operator's id with which the script is tried."""
    gone: list[str] = Field(default_factory=list)
    """What must be gone afterwards, such as `care_plans` or `clients.preferred_name`; by default what is dropped."""
    there: list[str] = Field(default_factory=list)
    """What must be there afterwards."""
    rows: dict[str, StrictInt] = Field(default_factory=dict)
    """By table, how many rows more (or less, `-120`) there must be afterwards than before; `0` means as many."""
    lock_timeout: str = Field(default="5s", pattern=r"^\d+(ms|s|min)$")
    """How long the script waits for a lock."""
    content: Literal["data", "sample", "schema"] = "data"
    """What the scratch copy holds: all rows, some of each table, or none, as always on a protected environment."""
    as_role: str = Field(default="", alias="as")
    """The role that runs migrations; by default the owner of the version table."""
    database: str = ""
    """The environment's database; by default the only one, or `app`."""

    @field_validator("version_table", "version_column", "audit", "as_role", "operator_type")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        return _require_name(name) if name else name

    @field_validator("gone", "there", "rows")
    @classmethod
    def _plain_names(cls, names: Any) -> Any:
        for name in names:
            _require_name(name)
        return names

    def script(self, root: Path, product: str, release: str) -> RollbackScript:
        """The script for a release; raises `CannotLook` where a down file cannot be read."""
        files = down_files(root, self.down)
        gone = self.gone or [name for each in files for name in dropped(each.text)]
        return RollbackScript(
            product,
            release,
            files,
            self.versions,
            self.version_table,
            self.version_column,
            self.unrecord,
            self.audit,
            self.operator_type,
            gone,
            self.there,
            self.rows,
            self.lock_timeout,
        )

    def look(self, context: Context) -> Iterator[Finding]:
        """Write the script, and run it on a copy of the database."""
        script = self.script(context.root, context.release.product, context.release.version)
        context.attach(f"rollback-{script.release}.sql", "application/sql", script.text().encode())
        up = down_files(context.root, self.up or [_up_of(name) for name in reversed(self.down)])
        content: Content = "schema" if context.environment.protected else self.content
        if content != self.content:
            actual = "schema: no copy is made of a protected environment's data"
            yield find("content of the copy", expected=self.content, actual=actual, ok=True, observe=True)
        with connect(context, self.database) as target:
            owner = target.execute(_OWNER).fetchone()
            recorded = self._recorded(target) if content == "schema" else None
        with scratch(context, self.database, content) as copy, copy.connect() as connection:
            connection.execute("set client_min_messages = warning")
            if recorded is not None:
                copied = f"insert into {self.version_table} overriding system value select * from "
                copied += f"jsonb_populate_recordset(null::{self.version_table}, %s::jsonb)"
                connection.execute(copied.encode(), [recorded])
            self._take_role(connection, owner[0] if owner else "")
            trial = _Trial(self, script, up, copy, connection, context.clock)
            yield from trial.run()
        yield counted("things that the script verifies", script.verified)

    def _recorded(self, target: psycopg.Connection[Any]) -> str:
        """The rows of the version table, which a copy of the schema alone has not."""
        query = f"select coalesce(jsonb_agg(to_jsonb(t)), '[]')::text from {self.version_table} t"
        row = target.execute(query.encode()).fetchone()
        return str(row[0]) if row else "[]"

    def _take_role(self, connection: psycopg.Connection[Any], owner: str) -> None:
        """Run migrations as on the target; to own the database gives rights on its schemas."""
        from psycopg import sql

        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} owner to {}").format(database, sql.Identifier(owner)))
        query = "select r.rolname from pg_catalog.pg_class c join pg_catalog.pg_roles r on r.oid = c.relowner"
        row = connection.execute(f"{query} where c.oid = to_regclass(%s)", [self.version_table]).fetchone()
        if row is None:
            raise CannotLook(f"there is no version table {self.version_table}", "correct `version_table` of the gate")
        connection.execute("select set_config('role', %s, false)", [self.as_role or row[0]])


class _Trial:
    """One try of a script on a scratch copy."""

    def __init__(
        self,
        asked: RollbackSql,
        script: RollbackScript,
        up: Sequence[DownFile],
        copy: Scratch,
        connection: psycopg.Connection[Any],
        clock: Clock,
    ) -> None:
        self.clock = clock
        self.asked = asked
        self.script = script
        self.up = up
        self.copy = copy
        self.connection = connection

    def run(self) -> Iterator[Finding]:
        """Up where it is not up yet, the script, and up again; the schema must be what it was in the beginning."""
        applied = self._applied()
        known = self.copy.schema()
        if not applied:
            wrong = self._migrate()
            if wrong:
                yield find("migration on the copy", expected="runs", actual=wrong, ok=Ok.CANNOT_TELL)
                return
            if not self._applied():
                what = "the version table of the copy has no row to copy"
                raise CannotLook(what, "give `recorded`, or `content: data`")
        yield self._refuses("the script without an operator", self.script.text(), "nobody said who runs this", "")
        idle = self.script.text(way_back=False)
        yield self._refuses("the script without its way back", idle, "rollback refused", self.asked.try_as)
        began = self.clock.monotonic()
        wrong = self._try(self.script.text(), self.asked.try_as)
        took = f"ran in one transaction, in {self.clock.monotonic() - began:.3f}s"
        yield find("the script on the copy", expected="runs in one transaction", actual=wrong or took, ok=not wrong)
        if wrong:
            return
        yield from self._audited()
        if not applied:
            yield _same("schema after the rollback", known, self.copy.schema())
        wrong = self._migrate()
        yield find("migration after the rollback", expected="runs again", actual=wrong or "runs again", ok=not wrong)
        if applied and not wrong:
            yield _same("schema after the migration", known, self.copy.schema())

    def _applied(self) -> bool:
        asked = self.asked
        query = f"select count(*) from {asked.version_table} where {asked.version_column}::text = any(%s)"
        row = self.connection.execute(query.encode(), [list(asked.versions)]).fetchone()
        number = row[0] if row else 0
        if number not in (0, len(asked.versions)):
            raise CannotLook("some of the versions are applied and some are not", "migrate, or correct `versions`")
        return bool(number)

    def _migrate(self) -> str:
        """Apply the files and record them; says what went wrong."""
        text = "\n".join(each.text.rstrip().rstrip(";") + ";" for each in self.up)
        return self._try(f"begin;\n{text}\n{self._recording()}\ncommit;")

    def _recording(self) -> str:
        asked = self.asked
        if asked.recorded:
            return asked.recorded.strip().rstrip(";") + ";"
        table, column = asked.version_table, asked.version_column
        lines = [
            f"insert into {table} select (jsonb_populate_record(t, jsonb_build_object('{column}', '{version}'))).* "
            f"from {table} t limit 1;"
            for version in (each.replace("'", "''") for each in asked.versions)
        ]
        return "\n".join(lines)

    def _refuses(self, what: str, text: str, why: str, operator: str) -> Finding:
        wrong = self._try(text, operator)
        if why in wrong:
            return find(what, expected="refused", actual=f"refused: {wrong}", ok=True)
        actual = wrong or "ran: its verification notices nothing; say in `gone` and `rows` what must have changed"
        return find(what, expected="refused", actual=actual, ok=Ok.CANNOT_TELL if wrong else Ok.NO)

    def _try(self, text: str, operator: str = "") -> str:
        """Run a script as it is; says what went wrong, and leaves no transaction open."""
        import psycopg

        self.connection.execute(f"select set_config('{OPERATOR}', %s, false)", [operator])
        try:
            self.connection.execute(text.encode())
        except psycopg.Error as error:
            if self.connection.closed:
                raise CannotLook("the scratch server went away", "look again") from None
            self.connection.execute("rollback")
            message = _QUOTED.sub('"..."', error.diag.message_primary or type(error).__name__)
            return f"{message} (SQLSTATE {error.sqlstate})"
        return ""

    def _audited(self) -> Iterator[Finding]:
        if not self.asked.audit:
            return
        query = f"select count(*) from {self.asked.audit} where user_id::text = %s and action_description like %s"
        values = [self.asked.try_as, f"%rollback%{self.script.release}%"]
        row = self.connection.execute(query.encode(), values).fetchone()
        number = row[0] if row else 0
        yield find("rows of it in the audit log", expected="1", actual=number, ok=number == 1)


def _same(what: str, wanted: str, got: str) -> Finding:
    """Whether two dumps are the same, and where not, their first lines that differ."""
    old, new = set(wanted.splitlines()), set(got.splitlines())
    more = [f"+ {line.strip()}" for line in got.splitlines() if line not in old]
    less = [f"- {line.strip()}" for line in wanted.splitlines() if line not in new]
    differing = [*less, *more] or (["the order of lines"] if wanted != got else [])
    shown = "; ".join(differing[:_SHOWN]) + ("; ..." if len(differing) > _SHOWN else "")
    actual = f"{len(differing)} lines differ: {shown}" if differing else f"the same, {len(old)} lines"
    return find(what, expected="as before", actual=actual, ok=not differing)


def _up_of(name: str) -> str:
    if not name.endswith(".down.sql"):
        raise CannotLook(f"the file that applies what {name} takes back is not known", "name it in `up` of the gate")
    return f"{name.removesuffix('.down.sql')}.up.sql"


def _require_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a name such as public.clients, got '{name}'")
    return name
