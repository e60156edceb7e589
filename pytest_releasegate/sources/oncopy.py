"""A scratch copy that a gate looks at instead of the target, with the release's scripts run on it."""

from __future__ import annotations

from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictStr

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgscratch import require_copyable, scratch
from pytest_releasegate.sources.postgres import said_by
from pytest_releasegate.sources.text import OneOrMore

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from pytest_releasegate.check import Context

__all__ = ["OnCopy", "copied"]

_NONE: Any = ()
_SECONDS = 300.0
Names = tuple[Annotated[StrictStr, Field(min_length=1)], ...]


class OnCopy(Parameters):
    """A scratch copy to look at instead."""

    content: Literal["schema", "sample", "data"] = "schema"
    """What of the database is copied; of a protected environment nothing but the schema."""
    run: Annotated[Names, OneOrMore] = _NONE
    """Files of SQL to run on the copy before, such as the release's migrations, relative to the root."""
    without: Names = ()
    """Extensions to leave out."""


@contextmanager
def copied(context: Context, database: str, asked: OnCopy) -> Iterator[psycopg.Connection[Any]]:
    """A transaction on a scratch copy of a database, after its scripts; rolled back at the end, as the copy goes."""
    if absent := next((name for name in asked.run if not (context.root / name).is_file()), ""):
        raise CannotLook(f"there is no file {absent}", "correct `run`, relative to the root")
    require_copyable(context, asked.content)
    with (
        scratch(context, database, asked.content, without=asked.without) as copy,
        copy.connect() as connection,
        _told("on the copy"),
    ):
        seconds = ceil(context.remaining(_SECONDS))
        connection.execute("select set_config('statement_timeout', %s, false)", [f"{seconds}s"])
        for name in asked.run:
            with _told(f"{name} on the copy"):
                connection.execute((context.root / name).read_bytes())
        with connection.transaction(force_rollback=True):
            yield connection


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Whatever PostgreSQL raises, in plain words."""
    import psycopg

    try:
        yield
    except psycopg.DatabaseError as error:
        raise CannotLook(
            f"{where}: {said_by(error)} (SQLSTATE {error.sqlstate})", "correct the script, or the gate"
        ) from None
