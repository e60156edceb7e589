"""Looking into a PostgreSQL database: read-only by default, bounded, always rolled back, errors in plain words."""

from __future__ import annotations

import re
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.sources.pgbudget import one_connection, reserve
from pytest_releasegate.sources.sqlguard import require_harmless

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg

    from pytest_releasegate.check import Context

__all__ = [
    "address",
    "bound",
    "connect",
    "count_each",
    "database_name",
    "first_rows",
    "one_predicate",
    "one_statement",
    "said_by",
    "servers",
    "several",
]

APPLICATION = "pytest-releasegate"
CONNECT_SECONDS = 10.0
LOCK_SECONDS = 2.0
IDLE_SECONDS = 60.0
_TOGETHER = 50
_SESSION = """
select set_config('statement_timeout', %(statement)s, true),
       set_config('lock_timeout', %(lock)s, true),
       set_config('idle_in_transaction_session_timeout', %(idle)s, true),
       set_config('row_security', 'off', true),
       set_config('cursor_tuple_fraction', '1', true),
       current_setting('transaction_read_only'),
       case when %(protected)s then bool_or(rolsuper) end,
       case when %(protected)s and not bool_or(rolsuper) then (
           select min(c.oid::regclass::text) from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
           where c.relkind in ('r', 'p')
             and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'releasegate')
             and (pg_has_role(session_user, c.relowner, 'USAGE') or pg_has_role(current_user, c.relowner, 'USAGE'))) end
from pg_catalog.pg_roles where rolname in (session_user, current_user)
"""
_TOKEN = re.compile(
    r"""--[^\r\n]*                                    # comment to the end of the line
      | \b[eE]'(?:[^'\\]|\\.|'')*'                    # string with backslashes
      | '(?:[^']|'')*'
      | "(?:[^"]|"")*"
      | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)     # dollar-quoted string
      | /\*
      | .""",
    re.VERBOSE | re.DOTALL,
)
_PLACEHOLDER = re.compile(r"%\(\w+\)s")
_IN_COMMENT = re.compile(r"/\*|\*/|.", re.DOTALL)
_CONNECT_HINTS = (
    ("password authentication failed|no password supplied", "check the user and password of its connection string"),
    ("database .* does not exist", "check the database's name in its connection string, or create the database"),
    ("role .* does not exist", "create the role, or check the user of its connection string"),
    ("refused|No such file", "is the server running, and are host and port of its connection string right?"),
    ("timeout|timed out", "is the server reachable from here (network, firewall, VPN)?"),
    ("resolve|translate host|Name or service", "check the host of its connection string"),
    ("too many (clients|connections)|connection slots", "wait until connections are free, or raise the role's limit"),
    ("pg_hba|SSL", "ask for access from this address, or set sslmode in its connection string"),
)
_HINTS = {
    "25006": "checks only read: write one SELECT without side effects",
    "25P03": "the session sat idle in its transaction for too long; look again",
    "42501": "grant what is missing to the role that looks, such as: grant pg_read_all_data to {user}",
    "42601": "correct the SQL of the gate",
    "42703": "correct the column's name in the gate",
    "42P01": "correct the table's name in the gate, or run the migration that creates it",
    "53300": "wait until connections are free, or raise the role's connection limit",
    "55P03": "something holds a lock on the table, such as a running migration; look again when it has ended",
    "57014": "raise the `timeout`, look at fewer rows, or look when the database is less busy",
}


@contextmanager
def connect(
    context: Context, database: str = "", *, at_most: float = 60.0, writable: bool = False, snapshot: str = ""
) -> Iterator[psycopg.Connection[Any]]:
    """One transaction on a database of the environment, rolled back at the end; seconds bound each statement.

    It is REPEATABLE READ READ ONLY with `row_security` off; `writable` is for probes that write nothing in the end,
    `snapshot` an exported one to share.
    Whatever PostgreSQL raises inside becomes `CannotLook`, with its primary message and SQLSTATE.
    """
    name = database_name(context, database)
    options = _options(context, name)
    with one_connection(context, name, _place(options)):
        yield from _transaction(context, name, options, at_most, snapshot, writable=writable)


def _transaction(
    context: Context, name: str, options: dict[str, Any], at_most: float, snapshot: str, *, writable: bool
) -> Iterator[psycopg.Connection[Any]]:
    import psycopg
    from psycopg import sql

    connection = _open(context, name, options)
    try:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = not writable
        if snapshot:
            connection.execute(sql.SQL("set transaction snapshot {}").format(snapshot))
        _pin(connection, context, writable=writable, at_most=at_most)
        yield connection
    except psycopg.Error as error:
        raise _cannot_look(error, name, connection) from None
    finally:
        _close(connection)


@contextmanager
def several(context: Context, database: str = "", *, most: int, least: int = 1) -> Iterator[int]:
    """Set connections aside for this gate, as many as are free now, and wait for `least`; gives how many.

    A gate that opens a second connection while it holds one needs it: each alone would wait for the other.
    """
    name = database_name(context, database)
    with reserve(context, name, address(context, name), most, least) as number:
        yield number


def database_name(context: Context, database: str = "") -> str:
    """The name of a declared database; by default the only one, or the one named `app`."""
    known = context.environment.databases
    where = f"environment '{context.environment.name}'"
    if not known:
        raise CannotLook(f"{where} has no databases", "declare `databases: {app: ...}` in environments.yaml")
    if database in known:
        return database
    if database:
        raise CannotLook(f"{where} has no database '{database}'", nearest(database, list(known)))
    if len(known) == 1:
        return next(iter(known))
    if "app" in known:
        return "app"
    raise CannotLook(f"{where} has several databases and none named 'app'", f"say which: {', '.join(sorted(known))}")


def bound(connection: psycopg.Connection[Any], context: Context, at_most: float = 60.0) -> None:
    """Give the next statement no more than what is left of the gate's time; seconds."""
    connection.execute("select set_config('statement_timeout', %s, true)", [_milliseconds(context.remaining(at_most))])


def first_rows(
    connection: psycopg.Connection[Any], query: str, parameters: Mapping[str, object] | None = None, *, limit: int
) -> list[tuple[Any, ...]]:
    """At most `limit` rows of one query (SELECT, VALUES, WITH); anything else is refused by the server."""
    # a cursor takes queries only, and never a second statement
    with connection.cursor(name="releasegate") as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchmany(limit)


def count_each(
    connection: psycopg.Connection[Any], context: Context, queries: Sequence[str], at_most: float = 60.0
) -> list[int]:
    """The single number that each query gives, in their order, in few round trips."""
    numbers: dict[int, int] = {}
    for start in range(0, len(queries), _TOGETHER):
        part = range(start, min(start + _TOGETHER, len(queries)))
        text = "\nunion all\n".join(f"select %s::int, (\n{queries[place].replace('%', '%%')}\n)" for place in part)
        bound(connection, context, at_most)
        # bound parameters make psycopg use the extended protocol, which takes one statement only
        numbers.update(connection.execute(text.encode(), list(part)).fetchall())
    return [numbers[place] for place in range(len(queries))]


def one_statement(text: str, what: str = "the query") -> str:
    """The text without a closing semicolon; raises `ValueError` when it is empty or more than one statement."""
    seen = ended = False
    for piece in _code(text):
        if piece == ";":
            ended = ended or seen
        elif piece.strip() and ended:
            raise ValueError(f"{what}: expected one statement, got more than one (a ';' in the middle)")
        seen = seen or (piece != ";" and bool(piece.strip()))
    if not seen:
        raise ValueError(f"{what}: expected one statement, got none")
    whole = text.strip().rstrip("; \n\t") if ended else text.strip()
    require_harmless(_PLACEHOLDER.sub("''", whole), what)
    return whole


def one_predicate(text: str, what: str = "the predicate") -> str:
    """The text of one condition, to stand in brackets after WHERE; raises `ValueError` when it is anything else."""
    depth = seen = 0
    for piece in _code(text):
        seen += bool(piece.strip())
        depth += (piece == "(") - (piece == ")")
        if piece == ";" or depth < 0:
            raise ValueError(f"{what}: expected one condition, got '{piece}' where none belongs")
    if depth or not seen:
        got = "a bracket that is never closed" if depth else "none"
        raise ValueError(f"{what}: expected one condition, got {got}")
    require_harmless(f"select 1 where (\n{text.strip()}\n)", what)
    return text.strip()


def _code(text: str) -> Iterator[str]:
    """The pieces of SQL text outside comments; raises `ValueError` when a comment never ends."""
    place = depth = 0
    while place < len(text):
        match = next((_IN_COMMENT if depth else _TOKEN).finditer(text, place))
        place, piece = match.end(), match[0]
        if not depth and piece != "/*" and not piece.startswith("--"):
            yield piece
        depth += (piece == "/*") - (depth > 0 and piece == "*/")
    if depth:
        raise ValueError("expected one statement, got a comment that never ends")


def _open(context: Context, name: str, options: dict[str, Any]) -> psycopg.Connection[Any]:
    import psycopg

    limit = context.remaining(CONNECT_SECONDS)
    try:
        return psycopg.connect(**options, connect_timeout=max(2, ceil(limit)), prepare_threshold=None)
    except psycopg.Error as error:
        raise _unreachable(str(error), name) from None


def _options(context: Context, name: str) -> dict[str, Any]:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    text = context.resolve(context.environment.databases[name])
    context.secrets.add(text, f"databases.{name}")
    try:
        options = conninfo_to_dict(text)
    except psycopg.ProgrammingError:
        # the parser's own message would repeat the text, and the password in it
        raise CannotLook(
            f"database '{name}': its connection string cannot be read",
            "expected postgresql://user@host:port/database, or host=... dbname=...",
        ) from None
    context.secrets.add(str(options.get("password") or ""), f"databases.{name}")
    return {**options, "application_name": APPLICATION, "keepalives_idle": 10, "tcp_user_timeout": 30_000}


def servers(context: Context, database: str) -> tuple[list[tuple[str, int]], str, str]:
    """The hosts and ports of a database, its user and its name; raises `CannotLook` where it is over a local socket."""
    name = database_name(context, database)
    options = {key: str(value or "") for key, value in _options(context, name).items()}
    hosts = [host for host in (options.get("host") or options.get("hostaddr") or "").split(",") if host]
    ports = [int(port) if port.isdigit() else 5432 for port in options.get("port", "").split(",")]
    if not hosts or any(host.startswith(("/", "@")) for host in hosts):
        raise CannotLook(f"database '{name}' is reached over a socket of this machine, where there is no TLS")
    found = [(host, ports[number] if len(ports) > 1 else ports[0]) for number, host in enumerate(hosts)]
    user = options.get("user", "")
    return found, user, options.get("dbname") or user


def address(context: Context, database: str) -> str:
    """Where a declared database is, whoever looks at it."""
    return _place(_options(context, database))


def _place(options: dict[str, Any]) -> str:
    return "|".join(str(options.get(key) or "") for key in ("service", "host", "hostaddr", "port", "dbname"))


def _pin(connection: psycopg.Connection[Any], context: Context, *, writable: bool, at_most: float) -> None:
    limits: dict[str, str | bool] = {
        "protected": context.environment.protected,
        "statement": _milliseconds(context.remaining(at_most)),
        "lock": _milliseconds(LOCK_SECONDS),
        "idle": _milliseconds(IDLE_SECONDS),
    }
    # the first query takes the snapshot, and after it the transaction cannot be made writable
    row = connection.execute(_SESSION, limits).fetchone()
    if row is None or row[-3] != ("off" if writable else "on"):
        raise CannotLook("the transaction did not become what was asked for", "a pooler between may rewrite BEGIN")
    _refuse_mighty(context, connection, superuser=row[-2], owned=row[-1])


def _refuse_mighty(
    context: Context, connection: psycopg.Connection[Any], *, superuser: bool | None, owned: str | None
) -> None:
    """On a protected environment a role that may change what it looks at is not let in, unless said."""
    word = "superuser" if superuser else "owner" if owned else ""
    if not word or word in context.environment.allow:
        return
    what = "is a superuser" if superuser else f"owns tables, such as {owned}"
    raise CannotLook(
        f"role '{connection.info.user}' {what}, and environment '{context.environment.name}' is protected",
        f"look as a role that only reads (releasegate db-role writes it), or declare `allow: [{word}]`",
    )


def _close(connection: psycopg.Connection[Any]) -> None:
    import psycopg

    try:
        if not connection.closed:
            connection.rollback()
    except psycopg.Error:
        # a lost connection is rolled back by the server
        return
    finally:
        connection.close()


def _milliseconds(seconds: float) -> str:
    return f"{max(1, ceil(seconds * 1000))}ms"


def _unreachable(text: str, name: str) -> CannotLook:
    last = text.strip().rsplit("FATAL:", 1)[-1].strip().splitlines()[0]
    message = last.rsplit(" failed: ", 1)[-1]
    hint = next((hint for words, hint in _CONNECT_HINTS if re.search(words, text)), "check its connection string")
    return CannotLook(f"database '{name}': cannot connect: {message}", hint)


def _cannot_look(error: psycopg.Error, name: str, connection: psycopg.Connection[Any]) -> CannotLook:
    state = error.sqlstate
    if state is None:
        lost = connection.broken or connection.closed
        hint = "the connection was lost; look again" if lost else "correct the SQL, or what it gives, of the gate"
        # what the driver cannot read it quotes, and it may be a value out of a row
        message = str(error).splitlines()[0] if lost else re.sub(r"'[^']*'", "'...'", str(error).splitlines()[0])
        return CannotLook(f"database '{name}': {message}", hint)
    message = said_by(error)
    hint = _HINTS.get(state, "").format(user=connection.info.user)
    if state == "42501" and "row-level security" in message:
        hint = f"the role sees only some of the rows; let it see all: alter role {connection.info.user} bypassrls"
    return CannotLook(f"database '{name}': {message} (SQLSTATE {state})", hint)


def said_by(error: psycopg.Error) -> str:
    """What PostgreSQL says, without values out of rows."""
    message = error.diag.message_primary or type(error).__name__
    # these two classes of errors quote them
    return re.sub(r'"[^"]*"', '"..."', message) if (error.sqlstate or "")[:2] in ("22", "23") else message
