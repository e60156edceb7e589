"""A scratch copy of an environment's database, on a throw-away server that nobody else uses and that calls nobody."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.pgdump import CALLS_OUT, binaries_for, dump, newest_binaries, plain_schema, restore
from pytest_releasegate.sources.pgsample import fill
from pytest_releasegate.sources.pgserver import PostgresError, PostgresServer, PostgresUnavailableError
from pytest_releasegate.sources.postgres import connect, database_name, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import psycopg

    from pytest_releasegate.check import Context

__all__ = ["Content", "Scratch", "blank", "require_copyable", "scratch"]

Content = Literal["schema", "data", "sample"]
SETTINGS = {
    "autovacuum": "off",
    # so that as much is written ahead as on a server that means it
    "full_page_writes": "on",
    "max_locks_per_transaction": "1024",
    "max_wal_size": "8GB",
    "jit": "off",
}
_KEPT_SETTINGS = ("search_path", "TimeZone", "DateStyle", "IntervalStyle", "default_text_search_config")
_ROLES = """
select rolname, rolbypassrls or rolsuper, rolinherit from pg_catalog.pg_roles where rolname !~ '^pg_' order by oid
"""
_MEMBERS = """
select r.rolname, m.rolname, a.admin_option
from pg_catalog.pg_auth_members a
join pg_catalog.pg_roles r on r.oid = a.roleid join pg_catalog.pg_roles m on m.oid = a.member
where m.rolname !~ '^pg_'
"""
_DATABASE = """
select current_setting('server_version_num')::int / 10000, current_database(), pg_catalog.pg_encoding_to_char(encoding),
       array(select unnest(setconfig) from pg_catalog.pg_db_role_setting where setdatabase = d.oid and setrole = 0),
       array(select extname from pg_catalog.pg_extension order by 1),
       (select r.rolname from pg_catalog.pg_namespace n join pg_catalog.pg_roles r on r.oid = n.nspowner
        where n.nspname = 'public')
from pg_catalog.pg_database d where datname = current_database()
"""
_MEMBERS_OF = """
select c.relname from pg_catalog.pg_depend d
join pg_catalog.pg_extension e on d.refclassid = 'pg_extension'::regclass and e.oid = d.refobjid
join pg_catalog.pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
where d.deptype = 'e' and e.extname = any(%s)
"""


@dataclass(frozen=True, slots=True)
class Scratch:
    """A database of which nothing remains."""

    server: PostgresServer
    database: str
    content: Content
    left_out: tuple[str, ...] = ()
    """What the copied database has and this one has not: it calls out."""

    @property
    def dsn(self) -> str:
        """The superuser's connection string."""
        return self.server.dsn(self.database)

    def connect(self) -> psycopg.Connection[Any]:
        """A session of the superuser in autocommit."""
        import psycopg

        return psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None)

    def schema(self) -> str:
        """The schema as `pg_dump` writes it, without comments and settings: equal texts mean equal schemas."""
        return plain_schema(self.server.binaries, self.dsn)


@dataclass(frozen=True, slots=True)
class _Source:
    """What of the copied server a dump does not hold."""

    major: int
    database: str
    encoding: str
    settings: tuple[str, ...]
    extensions: tuple[str, ...]
    owner: str | None
    """Whose the schema `public` is, where there is one."""
    roles: tuple[tuple[str, bool, bool], ...]
    members: tuple[tuple[str, str, bool], ...]
    called: tuple[str, ...]


def require_copyable(context: Context, content: Content) -> None:
    """Raise `CannotLook` where the data of the environment may not come to the machine that looks."""
    if content != "schema" and context.environment.protected and "restores" not in context.environment.allow:
        name = context.environment.name
        raise CannotLook(
            f"the data of '{name}', a protected environment, is not copied",
            "copy its `schema` only, or declare `allow: [restores]` for it, where its data may come to this machine",
        )


@contextmanager
def scratch(
    context: Context,
    database: str = "",
    content: Content = "schema",
    *,
    rows: int = 1000,
    without: Sequence[str] = (),
    at_most: float = 600.0,
) -> Iterator[Scratch]:
    """A copy of a database of the environment; it goes at the end, and when this process is killed.

    `sample` holds at most `rows` rows of each table, and the rows that they refer to. Roles cannot log in. Extensions
    that call out, those of `without`, foreign servers, subscriptions, publications and event triggers are left out.
    Of a protected environment nothing but the schema is copied, unless it allows `restores`.
    """
    require_copyable(context, content)
    out = sorted(CALLS_OUT | set(without))
    source = _read(context, database, out)
    with _started(binaries_for(source.major)) as server:
        context.secrets.add(server.dsn(), "scratch")
        copy = Scratch(server, source.database, content)
        _prepare(copy, source, out)
        archive = server.folder / "archive"
        text = context.resolve(context.environment.databases[database_name(context, database)])
        with several(context, database, most=1):
            dump(server.binaries, text, archive, data=content == "data", seconds=context.remaining(at_most))
        seconds = context.remaining(at_most)
        left = restore(server.binaries, copy.dsn, archive, seconds, without=out, names=source.called)
        for file in server.folder.glob("archive*"):
            file.unlink()
        if content == "sample":
            with connect(context, database, at_most=at_most) as connection, copy.connect() as target:
                fill(connection, target, rows)
        yield Scratch(server, source.database, content, left)


@contextmanager
def blank() -> Iterator[Scratch]:
    """An empty database of the newest PostgreSQL here, where there is nothing to copy."""
    with _started(newest_binaries()) as server:
        with Scratch(server, "postgres", "schema").connect() as connection:
            connection.execute("create database scratch")
        yield Scratch(server, "scratch", "schema")


@contextmanager
def _started(binaries: Path | None) -> Iterator[PostgresServer]:
    try:
        server = PostgresServer(binaries, settings=SETTINGS)
        server.start()
    except PostgresUnavailableError as error:
        raise CannotLook(str(error)) from None
    except PostgresError as error:
        raise CannotLook(f"the scratch server did not start: {error}", "is there room on its disk?") from None
    try:
        yield server
    finally:
        server.stop()


def _read(context: Context, database: str, out: Sequence[str]) -> _Source:
    with connect(context, database) as connection:
        row = connection.execute(_DATABASE).fetchone()
        assert row is not None  # noqa: S101  one always is in some database
        roles = connection.execute(_ROLES).fetchall()
        members = connection.execute(_MEMBERS).fetchall()
        called = [name for (name,) in connection.execute(_MEMBERS_OF, [list(out)]).fetchall()]
    major, name, encoding, settings, extensions, owner = row
    plain = (tuple(settings), tuple(extensions), owner, tuple(roles), tuple(members), tuple(called))
    return _Source(major, name, encoding, *plain)


def _prepare(copy: Scratch, source: _Source, out: Sequence[str]) -> None:
    """An empty database with the roles, the encoding and the settings of the copied one."""
    from psycopg import sql

    with Scratch(copy.server, "postgres", copy.content).connect() as connection:
        _need_extensions(connection, copy, [name for name in source.extensions if name not in out])
        _make_roles(connection, source)
        if source.database != "postgres":
            make = "create database {} template template0 encoding {} lc_collate 'C' lc_ctype 'C'"
            connection.execute(sql.SQL(make).format(sql.Identifier(source.database), source.encoding))
    with copy.connect() as connection:
        for setting in source.settings:
            _set(connection, source.database, *setting.split("=", 1), out=out)
        if source.owner is None:
            connection.execute("drop schema public")
        elif source.owner != "pg_database_owner":
            connection.execute(sql.SQL("alter schema public owner to {}").format(sql.Identifier(source.owner)))


def _set(connection: psycopg.Connection[Any], database: str, name: str, value: str, *, out: Sequence[str]) -> None:
    from psycopg import sql

    own = "." in name and name.partition(".")[0] not in out
    if own or name in _KEPT_SETTINGS:
        path = sql.SQL(".").join(map(sql.Identifier, name.split(".")))
        # a list is kept as it was written, each name quoted where it must be
        text = sql.SQL(value) if name == "search_path" else sql.Literal(value)
        connection.execute(sql.SQL("alter database {} set {} to {}").format(sql.Identifier(database), path, text))


def _need_extensions(connection: psycopg.Connection[Any], copy: Scratch, names: Sequence[str]) -> None:
    known = {name for (name,) in connection.execute("select name from pg_catalog.pg_available_extensions").fetchall()}
    missing = sorted(set(names) - known)
    if missing:
        raise CannotLook(
            f"the database uses the extension '{missing[0]}'{_more(missing)}, which the scratch server does not have"
            f" ({copy.server.binaries})",
            f"install it for that PostgreSQL, name one that has it in RELEASEGATE_PG_BIN, or leave it out by"
            f" `without: [{', '.join(missing)}]` where nothing that matters needs it",
        )


def _more(names: Sequence[str]) -> str:
    return f" (and {', '.join(names[1:])})" if len(names) > 1 else ""


def _make_roles(connection: psycopg.Connection[Any], source: _Source) -> None:
    from psycopg import sql

    known = {name for (name,) in connection.execute("select rolname from pg_catalog.pg_roles").fetchall()}
    for name, bypass, inherit in source.roles:
        if name not in known:
            options = f"nologin {'' if bypass else 'no'}bypassrls {'' if inherit else 'no'}inherit"
            connection.execute(sql.SQL("create role {} ").format(sql.Identifier(name)) + sql.SQL(options))
    for role, member, admin in source.members:
        if member != "postgres":
            grant = sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(member))
            connection.execute(grant + sql.SQL(" with admin option" if admin else ""))
