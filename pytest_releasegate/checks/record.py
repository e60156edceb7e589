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

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding, Release

__all__ = ["Record"]

_AFTER = re.compile(r"deployed_at(?: *\+ *(\S+))?")
_ROW = "product = {0} AND version = {0} AND environment = {0} AND attempt = {0}"
_OF_RELEASE = f"release_id IN (SELECT id FROM {{1}} WHERE {_ROW})"  # noqa: S608  no value is put in
_MOST = 1000
_EVIDENCE = 64 * 1024

Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Record(Parameters):
    """Looks at the release's own row over a connection of its own, and compares a column with what is known otherwise.

    The denominator is the rows of this release in the table; outside of `releases` one row that fits is enough.

    ```yaml
    record: {column: review_scheduled_at, is: deployed_at + 72h}
    ```
    """

    kind: ClassVar[str] = "record"
    shorthand: ClassVar[str] = "column"

    column: Name
    """The column to look at, such as `review_status`."""
    is_: StrictBool | StrictStr = Field(default="present", alias="is")
    """What it must hold: a text, `true` or `false`, `present`, `deployed_at + 72h`, `release.git_commit` or
    `release.git_branch`."""
    table: Name = "releases"
    """The table of the record, such as `releases` or `audit_logs`."""

    def look(self, context: Context) -> Iterator[Finding]:
        """Yield the number of rows and what the column holds; raise `CannotLook` where the record cannot be read."""
        expected = self._expected(context.release)
        url = context.resolve(context.environment.values.get("record_url", ""))
        if not url:
            raise CannotLook("the record's URL is not known here", "run the gate within a run that is recorded")
        if not url.startswith("sqlite:"):
            context.secrets.add(url, "record_url")
        values = _read(url, self, context.release, context.remaining(30.0))
        name = f"{self.table}.{self.column}"
        if not values:
            held = f"no row of {context.release.name}"
            yield find(
                f"{self.table} in the record", expected=f"a row of {context.release.name}", actual=held, ok=False
            )
            return
        yield counted(f"rows of {self.table}", len(values))
        table = "".join(f"{_shown(value)}\n" for value in values)
        context.attach(f"{name}.txt", "text/plain", table.encode("utf-8", "backslashreplace")[:_EVIDENCE])
        yield _compare(name, expected, values, self._source())

    def _source(self) -> str:
        return str(self.is_) if isinstance(self.is_, str) and self._is_word() else ""

    def _is_word(self) -> bool:
        text = str(self.is_)
        return text.startswith("release.") or _AFTER.fullmatch(text) is not None

    def _expected(self, release: Release) -> Any:
        if isinstance(self.is_, bool):
            return self.is_
        if self.is_ in {"release.git_commit", "release.git_branch"}:
            return getattr(release, self.is_.removeprefix("release."))
        match = _AFTER.fullmatch(self.is_)
        if match is None:
            return self.is_
        if release.deployed_at is None:
            raise CannotLook(
                f"release {release.name} has no deployed_at yet",
                f"say when: releasegate deployed --release {release.version} --env {release.environment}",
            )
        deployed = release.deployed_at.astimezone(UTC)
        return deployed + parse_duration(match[1]) if match[1] else deployed


def _compare(name: str, expected: Any, values: Sequence[Any], source: str) -> Finding:
    newest = _shown(values[-1])
    if expected == "present":
        held = next((_shown(value) for value in values if value not in (None, "")), newest)
        return find(name, expected="present", actual=held, ok=any(value not in (None, "") for value in values))
    if expected == "":
        # two empty texts are alike and prove nothing
        return find(name, expected=f"{source or 'a text'}, which is not known", actual=newest, ok=Ok.CANNOT_TELL)
    fits = next((value for value in values if _is(value, expected)), None)
    what = f"{_shown(expected)} ({source})" if source else _shown(expected)
    return find(name, expected=what, actual=newest if fits is None else _shown(fits), ok=fits is not None)


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


def _read(url: str, check: Record, release: Release, seconds: float) -> list[Any]:
    where = _ROW if check.table == "releases" else _OF_RELEASE
    key = (release.product, release.version, release.environment, release.attempt)
    if url.startswith("sqlite:///"):
        return _sqlite(url.removeprefix("sqlite:///"), check, where, key, seconds)
    return _postgresql(url, check, where, key, seconds)


def _sqlite(path: str, check: Record, where: str, key: tuple[object, ...], seconds: float) -> list[Any]:
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=seconds)) as connection:
            known = [row[1] for row in connection.execute(f"PRAGMA table_info({check.table})")]
            _must_know(check, known)
            condition = where.format("?", "releases")
            query = f"SELECT {check.column} FROM {check.table} WHERE {condition} ORDER BY id DESC LIMIT {_MOST}"  # noqa: S608
            return [row[0] for row in connection.execute(query, key)][::-1]
    except sqlite3.Error as error:
        raise CannotLook(f"the record {path} cannot be read: {error}", "see `releasegate verify`") from error


def _postgresql(url: str, check: Record, where: str, key: tuple[object, ...], seconds: float) -> list[Any]:
    import psycopg

    dsn = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
    condition = where.format("%s", "releasegate.releases")
    query = f"SELECT {check.column} FROM releasegate.{check.table} WHERE {condition} ORDER BY id DESC LIMIT {_MOST}"  # noqa: S608
    columns = (
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'releasegate' AND table_name = %s"
    )
    try:
        with psycopg.connect(dsn, connect_timeout=max(2, int(seconds)), prepare_threshold=None) as connection:
            connection.read_only = True
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(seconds * 1000))])
            _must_know(check, [row[0] for row in connection.execute(columns, [check.table])])
            return [row[0] for row in connection.execute(query.encode(), key)][::-1]
    except psycopg.Error as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CannotLook(f"the record cannot be read: {first}", "see that the server of the record runs") from None


def _must_know(check: Record, known: list[str]) -> None:
    if not known:
        raise CannotLook(
            f"the record has no table '{check.table}'", "known: releases, audit_logs, runs, gate_results, ..."
        )
    if check.table != "releases" and "release_id" not in known:
        raise CannotLook(f"the rows of the record's table '{check.table}' name no release", "look at another table")
    if check.column not in known:
        raise CannotLook(
            f"the record's table '{check.table}' has no column '{check.column}'", nearest(check.column, known)
        )
