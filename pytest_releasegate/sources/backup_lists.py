"""Where backups are listed: files of a folder, reports of tools, answers of a database or a service."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.backups import REPORTS, Made, Report, instant, reported
from pytest_releasegate.sources.ciphers import cipher_of, head_of
from pytest_releasegate.sources.httpsend import Headers
from pytest_releasegate.sources.jsonpaths import under
from pytest_releasegate.sources.pgarchive import BESIDE, Archive, Damaged, dump_files, is_archive, size_of, written_at
from pytest_releasegate.sources.s3 import S3Prefix, objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_releasegate.check import Context

__all__ = ["SOURCES", "ZONES", "HttpList", "listed", "newest_dump"]

SOURCES = ("dump", "folder", "pgbackrest", "barman", "walg", "s3", "sql", "http")
"""The keys of a gate that say where backups are listed."""
_MOST_ROWS = 10_000
_BY_FILE, _BY_HEADER = "its modification time", "its own header, read as local time"
ZONES = timedelta(hours=15)
"""A header holds a local time of nobody knows where: it may be off by so much."""


class HttpList(Parameters):
    """An answer in JSON that lists backups."""

    url: str = Field(min_length=1)
    """A path under the environment's base URL, or an absolute URL; references in its query count as secrets."""
    headers: Headers = Field(default_factory=dict)
    """Headers to send; values may hold references such as `Bearer ${env:TOKEN}`."""
    list: str = ""
    """The dotted path of the list in the answer; by default the answer is the list, or the only backup."""
    time: str = "finished_at"
    """The dotted path of the instant in each, ISO 8601 with an offset or seconds since 1970."""
    size: str = ""
    """The dotted path of the size in bytes in each, where there is one."""
    name: str = ""
    """The dotted path of the name in each, where there is one."""
    only: dict[str, str] = Field(default_factory=dict)
    """Dotted paths with the value that a backup has when it is complete and full, such as `status: COMPLETED`."""


def listed(name: str, source: Any, context: Context, *, server: str, database: str) -> Report:
    """The backups of a source; raises `CannotLook` where it cannot be read."""
    if name in REPORTS:
        return reported(name, source, server, context)
    makers: dict[str, Callable[[], list[Made]]] = {
        "dump": lambda: _dumps(source, context),
        "folder": lambda: [_of_file(path) for path in dump_files(source, context, "folder")],
        "s3": lambda: _of_bucket(source, context),
        "sql": lambda: _of_query(source, database, context),
        "http": lambda: _of_answer(source, context),
    }
    return Report(tuple(makers[name]()))


def newest_dump(pattern: str, context: Context) -> Made | None:
    """The newest archive of a pattern, by what `listed` goes by."""
    return max(_dumps(pattern, context), key=_age, default=None)


def _dumps(pattern: str, context: Context) -> list[Made]:
    """All of them; headers are read from the newest on, until the newest is as new as its header says too."""
    made = {path: _of_file(path) for path in dump_files(pattern, context)}
    read: set[Path] = set()
    while made and (newest := max(made, key=lambda path: _age(made[path]))) not in read:
        made[newest] = _dated(made[newest], context)
        read.add(newest)
    return list(made.values())


def _age(made: Made) -> float:
    return made.at.timestamp() if made.at else 0.0


def _of_file(path: Path) -> Made:
    try:
        size, at = size_of(path), written_at(path)
        cipher = "" if path.is_dir() else cipher_of(head_of(path))
    except OSError as error:
        raise CannotLook(f"{path} cannot be read: {error.strerror}", "let this account read it") from None
    return Made(name=path.name, at=at, dated_by=_BY_FILE, size=size, cipher=cipher, path=path)


def _dated(made: Made, context: Context) -> Made:
    """A dump is as old as its header says, where that is older for sure: copying a file makes it look new."""
    if made.path is None or not made.size or not is_archive(made.path):
        return made
    try:
        created = Archive(made.path, context).contents().created
    except (Damaged, CannotLook):
        # whether it can be read is asked where that matters
        return made
    if created and made.at and created < made.at - ZONES:
        return replace(made, at=created, dated_by=_BY_HEADER)
    return made


def _of_bucket(source: S3Prefix, context: Context) -> list[Made]:
    found = [each for each in objects(source, context) if not each.key.endswith(("/", *BESIDE))]
    return [Made(name=each.key, at=each.modified, dated_by="the bucket", size=each.size) for each in found]


def _of_query(query: str, database: str, context: Context) -> list[Made]:
    from pytest_releasegate.sources.postgres import connect, first_rows

    with connect(context, database) as connection:
        rows = first_rows(connection, query, limit=_MOST_ROWS)
    return [_of_row(number, row) for number, row in enumerate(rows, 1)]


def _of_row(number: int, row: tuple[Any, ...]) -> Made:
    if not 2 <= len(row) <= 3:
        raise CannotLook(f"`sql` gave {len(row)} columns", "select when it ended, its size or null, and its name")
    at = instant(row[0])
    if at is None and row[0] is not None:
        raise CannotLook("`sql` gave no instant in its first column", "select a timestamptz")
    if row[1] is not None and (isinstance(row[1], str) or not isfinite(row[1])):
        raise CannotLook("`sql` gave no size in its second column", "select a number of bytes, or null")
    name = str(row[2]) if len(row) == 3 else f"backup {number}"
    return Made(name=name, at=at, dated_by="the query's answer", size=None if row[1] is None else int(row[1]))


def _of_answer(source: HttpList, context: Context) -> list[Made]:
    from pytest_releasegate.sources.http import Query, ask, public_url

    url = context.url(source.url)
    headers = {name: context.resolve(value) for name, value in source.headers.items()}
    answer = ask(Query(url=url, headers=headers, redirects=True), clock=context.clock, limit=context.remaining(30))
    if answer.status != 200:
        raise CannotLook(f"{public_url(url)} answered {answer.status} {answer.reason}", "check the URL and its headers")
    try:
        whole = under(json.loads(answer.text), source.list)
    except ValueError:
        raise CannotLook(f"{public_url(url)} did not answer in JSON", "check the URL") from None
    found = whole if isinstance(whole, list) else [] if whole is None else [whole]
    return [_of_item(number, each, source) for number, each in enumerate(found, 1)]


def _of_item(number: int, item: Any, source: HttpList) -> Made:
    told, size = under(item, source.time), under(item, source.size) if source.size else None
    at = instant(told)
    if at is None and told is not None:
        raise CannotLook(f"http: `{source.time}` is no instant: {str(told)[:40]}", "expected ISO 8601 with an offset")
    unlike = [
        f"{path} is {under(item, path)}" for path, wanted in source.only.items() if str(under(item, path)) != wanted
    ]
    return Made(
        name=str(under(item, source.name)) if source.name else f"backup {number}",
        at=at,
        dated_by="the service's answer",
        size=size if isinstance(size, int) else None,
        problem=", ".join(unlike),
    )
