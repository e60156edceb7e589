"""Where a record is, how it is shown without its password, and what its failures mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from pytest_releasegate.errors import RecordError

__all__ = ["BUSY_SECONDS", "Address", "address", "explain"]

BUSY_SECONDS = 10
_WAYS = "name it as sqlite:////absolute/path/record.db or postgresql://user@host/database"
_LATER = "finished results wait in the journal; the next run puts them in"

_SQLITE = {
    "SQLITE_READONLY": ("the file or its folder is read-only", "make it writable, or name another record"),
    "SQLITE_CANTOPEN": ("it cannot be opened in its folder", "see that the folder exists and may be written to"),
    "SQLITE_FULL": ("the disk is full", f"free some space; {_LATER}"),
    "SQLITE_NOTADB": ("the file is not a database", "name another file, or move this one away"),
    "SQLITE_CORRUPT": ("the database is damaged", "put back a copy, or start another record"),
    "SQLITE_BUSY": (f"another process kept it locked for more than {BUSY_SECONDS} s", _LATER),
    "SQLITE_IOERR": (
        "the disk is full or reports a failure",
        f"free some space, or look at the machine's log; {_LATER}",
    ),
}
_POSTGRESQL = {
    "25006": ("the server takes no writes (a replica, or read-only)", "name the primary server"),
    "42501": (
        "the account lacks a right",
        "let it create and use the schema releasegate: GRANT CREATE ON DATABASE ... TO ...",
    ),
    "53100": ("the server's disk is full", f"free some space; {_LATER}"),
    "55P03": ("a lock was not given in time", _LATER),
    "57014": ("a statement was cancelled or took too long", _LATER),
}
_CONNECTING = {
    "authentication failed": ("the user name or the password is wrong", "see to the credentials in the record's URL"),
    "no password supplied": ("a password is needed", "put one into the record's URL by ${env:NAME}, or use PGPASSFILE"),
    "does not exist": ("the database or the account does not exist", "create it, or name another"),
}
_UNREACHABLE = ("the server cannot be reached", f"see that it runs and that the host and port are right; {_LATER}")


@dataclass(frozen=True, slots=True)
class Address:
    """The place of a record; `shown` is the URL without its password."""

    dialect: Literal["sqlite", "postgresql"]
    url: str = field(repr=False)
    shown: str
    path: Path = Path()
    """The file, for SQLite."""
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def error(self, what: str, hint: str = "") -> RecordError:
        """A problem of this record, without its password."""
        return RecordError(f"record {self.shown}: {self._scrub(what)}", hint)

    def _scrub(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def address(url: str) -> Address:
    """Read the URL of a record; raises `RecordError` when it is neither SQLite's nor PostgreSQL's."""
    if re.match(r"postgres(ql)?(\+\w+)?://", url):
        return _postgresql(url)
    file = url.removeprefix("sqlite:///")
    if file == url or file in {"", ":memory:"}:
        shown = re.sub(r"//.*@", "//***@", url)
        raise RecordError(f"record '{shown}': expected the URL of a file or of a PostgreSQL database", _WAYS)
    return Address("sqlite", url, url, Path(file))


def _postgresql(url: str) -> Address:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    dsn = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
    try:
        parts = conninfo_to_dict(dsn)
    except ProgrammingError:
        # the driver's text may hold a piece of the password
        raise RecordError("record postgresql://...: the URL cannot be read", _WAYS) from None
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    raw = re.match(r"postgresql://[^:/@]*:(.*)@", dsn)
    secrets = _pieces(str(parts.get("password") or ""), raw[1] if raw else "")
    shown = f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"
    for secret in secrets:
        shown = shown.replace(secret, "***")
    return Address("postgresql", dsn, shown, secrets=secrets)


def _pieces(*passwords: str) -> tuple[str, ...]:
    # a password with an unquoted '@' or '/' is read as a host, which messages repeat
    parts = {piece for each in passwords for piece in (each, unquote(each), *re.split(r"[@/:]", each))}
    return tuple(sorted((part for part in parts if len(part) > 3), key=len, reverse=True))


def explain(error: Exception, where: Address) -> RecordError:
    """What a failure of the database means and what to do."""
    cause = getattr(error, "orig", None) or error
    first = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    what, hint = _meaning(cause, first, where.dialect)
    return where.error(f"{what} ({first})" if what else first, hint)


def _meaning(cause: BaseException, text: str, dialect: str) -> tuple[str, str]:
    if dialect == "sqlite":
        name = str(getattr(cause, "sqlite_errorname", ""))
        return next((known for start, known in _SQLITE.items() if name.startswith(start)), ("", ""))
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return _POSTGRESQL.get(state, ("", ""))
    if type(cause).__name__ not in {"OperationalError", "ConnectionTimeout"}:
        return "", ""
    return next((known for part, known in _CONNECTING.items() if part in text), _UNREACHABLE)
