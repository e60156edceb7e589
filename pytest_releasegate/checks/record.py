"""`record`: the release's own row, read back."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import quote

from pydantic import Field, StrictBool, StrictStr, StringConstraints

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, parse_duration
from pytest_releasegate.sources.git import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding, Release

__all__ = ["Record"]

_AFTER = re.compile(r"deployed_at(?: *\+ *(\S+))?")
_ROW = "product = {0} AND version = {0} AND environment = {0} AND attempt = {0}"
_OF_RELEASE = f"release_id IN (SELECT id FROM {{1}} WHERE {_ROW})"  # noqa: S608  no value is put in
_OF_NOUN = {f"release.{name}" for name in ("git_commit", "git_branch", "rolled_back_at", "rollback_reason")}
_MOST = 1000
_EVIDENCE = 64 * 1024

Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Record(Parameters):
    """Looks at the release's own row over a connection of its own, and compares a column with what is known otherwise.

    The denominator is the rows of this release in the table; outside of `releases` one row that fits as a whole is
    enough.

    ```yaml
    record: {column: review_scheduled_at, is: deployed_at + 72h}
    ```
    """

    kind: ClassVar[str] = "record"
    shorthand: ClassVar[str] = "column"

    column: Name
    """The column to look at, such as `review_status`."""
    is_: StrictBool | StrictStr = Field(default="present", alias="is")
    """What it must hold: a text, `true` or `false`, `present`, `deployed_at + 72h`, `release.git_commit`,
    `release.git_branch`, `release.rolled_back_at`, `release.rollback_reason`, or `git.commit`: what git says of the
    version's tag (`v1.4.0` or `1.4.0`)."""
    also: dict[Name, StrictBool | StrictStr] = Field(default_factory=dict)
    """Further columns, each with what it must hold, in the same words."""
    table: Name = "releases"
    """The table of the record, such as `releases` or `audit_logs`."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Yield the number of rows and what the columns hold; raise `CannotLook` where the record cannot be read."""
        wanted = {column: _expected(is_, context) for column, is_ in self._columns().items()}
        url = context.resolve(context.environment.values.get("record_url", ""))
        if not url:
            raise CannotLook("the record's URL is not known here", "run the gate within a run that is recorded")
        if not url.startswith("sqlite:"):
            context.secrets.add(url, "record_url")
        rows = _read(url, self.table, list(wanted), context.release, context.remaining(30.0))
        if not rows:
            held = f"no row of {context.release.name}"
            yield find(
                f"{self.table} in the record", expected=f"a row of {context.release.name}", actual=held, ok=False
            )
            return
        yield counted(f"rows of {self.table}", len(rows))
        table = "".join("\t".join(map(_shown, row)) + "\n" for row in [list(wanted), *rows])
        context.attach(f"{self.table}.tsv", "text/plain", table.encode("utf-8", "backslashreplace")[:_EVIDENCE])
        findings = [list(self._compared(wanted, row)) for row in reversed(rows)]
        yield from max(findings, key=lambda row: sum(finding.ok is Ok.YES for finding in row))

    def _compared(self, wanted: Mapping[str, Any], row: Sequence[Any]) -> Iterator[Finding]:
        for (column, expected), value in zip(wanted.items(), row, strict=True):
            yield _compare(f"{self.table}.{column}", expected, value, _source(self._columns()[column]))

    def _columns(self) -> dict[str, bool | str]:
        return {self.column: self.is_, **self.also}


def _source(is_: bool | str) -> str:
    """Where the expected value comes from; empty where it is the text itself."""
    text = str(is_)
    return text if text.startswith(("release.", "git.")) or _AFTER.fullmatch(text) else ""


def _expected(is_: bool | str, context: Context) -> Any:
    if isinstance(is_, bool):
        return is_
    release = context.release
    if is_ in _OF_NOUN:
        return getattr(release, is_.removeprefix("release.")) or ""
    if is_ == "git.commit":
        return _tagged(context)
    match = _AFTER.fullmatch(is_)
    if match is None:
        return is_
    if release.deployed_at is None:
        raise CannotLook(
            f"release {release.name} has no deployed_at yet",
            f"say when: releasegate deployed --release {release.version} --env {release.environment}",
        )
    deployed = release.deployed_at.astimezone(UTC)
    return deployed + parse_duration(match[1]) if match[1] else deployed


def _tagged(context: Context) -> str:
    """The commit under the version's tag: the row that is compared with it has no part in that."""
    repository, version = Repository(context.root, context.remaining), context.release.version
    tags = filter(None, (repository.tag(name) for name in (f"v{version}", version)))
    tag = next(tags, None)
    if tag is None:
        raise CannotLook(f"git has no tag v{version} or {version}", f"git fetch --tags, or git tag -a v{version}")
    return tag.commit


def _compare(name: str, expected: Any, value: Any, source: str) -> Finding:
    held = _shown(value)
    if expected == "present":
        return find(name, expected="present", actual=held, ok=value not in (None, ""))
    if expected == "":
        # two empty texts are alike and prove nothing
        return find(name, expected=f"{source or 'a text'}, which is not known", actual=held, ok=Ok.CANNOT_TELL)
    what = f"{_shown(expected)} ({source})" if source else _shown(expected)
    return find(name, expected=what, actual=held, ok=_is(value, expected))


def _is(value: Any, expected: Any) -> bool:
    if value is None:
        return False
    if isinstance(expected, bool):
        return isinstance(value, int) and bool(value) is expected
    if isinstance(expected, datetime):
        return _instant(value) == expected
    return str(value) == str(expected)


def _instant(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else None
    try:
        read = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return read if read.tzinfo else None


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if value != "" else "an empty text"


def _read(url: str, table: str, columns: list[str], release: Release, seconds: float) -> Sequence[Sequence[Any]]:
    """The values of the columns in each row of the release, oldest first."""
    where = _ROW if table == "releases" else _OF_RELEASE
    key = (release.product, release.version, release.environment, release.attempt)
    if url.startswith("sqlite:///"):
        return _sqlite(url.removeprefix("sqlite:///"), table, columns, where.format("?", "releases"), key, seconds)
    return _postgresql(url, table, columns, where.format("%s", "releasegate.releases"), key, seconds)


def _sqlite(
    path: str, table: str, columns: list[str], where: str, key: tuple[object, ...], seconds: float
) -> Sequence[Sequence[Any]]:
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=seconds)) as connection:
            known = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            _must_know(table, columns, known)
            query = f"SELECT {', '.join(columns)} FROM {table} WHERE {where} ORDER BY id DESC LIMIT {_MOST}"  # noqa: S608
            return connection.execute(query, key).fetchall()[::-1]
    except sqlite3.Error as error:
        raise CannotLook(f"the record {path} cannot be read: {error}", "see `releasegate verify`") from error


def _postgresql(
    url: str, table: str, columns: list[str], where: str, key: tuple[object, ...], seconds: float
) -> Sequence[Sequence[Any]]:
    import psycopg

    dsn = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
    chosen = ", ".join(columns)
    query = f"SELECT {chosen} FROM releasegate.{table} WHERE {where} ORDER BY id DESC LIMIT {_MOST}"  # noqa: S608
    names = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'releasegate' AND table_name = %s"
    try:
        with psycopg.connect(dsn, connect_timeout=max(2, int(seconds)), prepare_threshold=None) as connection:
            connection.read_only = True
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(seconds * 1000))])
            _must_know(table, columns, [row[0] for row in connection.execute(names, [table])])
            return connection.execute(query.encode(), key).fetchall()[::-1]
    except psycopg.Error as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CannotLook(f"the record cannot be read: {first}", "see that the server of the record runs") from None


def _must_know(table: str, columns: list[str], known: list[str]) -> None:
    if not known:
        raise CannotLook(f"the record has no table '{table}'", "known: releases, audit_logs, runs, gate_results, ...")
    if table != "releases" and "release_id" not in known:
        raise CannotLook(f"the rows of the record's table '{table}' name no release", "look at another table")
    for column in (each for each in columns if each not in known):
        raise CannotLook(f"the record's table '{table}' has no column '{column}'", nearest(column, known))
