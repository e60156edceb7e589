"""`deadlocks`: how many there were since a moment that was marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, StrictBool, StrictInt, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgmonitor import SERIES, one
from pytest_releasegate.sources.postgres import connect, database_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding, Kept

__all__ = ["Deadlocks"]

_NOW = """
select deadlocks, xact_commit, coalesce(stats_reset::text, 'never'),
       case when pg_catalog.pg_is_in_recovery() then 'standby'
            else left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) end,
       pg_catalog.pg_postmaster_start_time()::text,
       {series}
from pg_catalog.pg_stat_database where datname = pg_catalog.current_database()
"""
_FIELDS = ("deadlocks", "transactions", "reset", "timeline", "started", "series")


class Deadlocks(Parameters):
    """The deadlocks of a database since a mark of this release; the denominator is the transactions committed since.

    ```yaml
    deadlocks: {database: app, since: before, most: 0}
    ```
    """

    kind: ClassVar[str] = "deadlocks"
    shorthand: ClassVar[str] = "since"

    since: str = Field(default="before", pattern=r"^[a-z][a-z0-9_-]*$")
    """The name of the mark to compare with, or to set."""
    mark: StrictBool = False
    """Whether this gate sets the mark; the first one set stands until its step is reopened."""
    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    most: Annotated[StrictInt, Field(ge=0)] = 0
    """How many deadlocks there may have been since."""
    least: Annotated[StrictInt, Field(ge=1)] = 1
    """How many transactions must have committed since, at least; gates themselves commit none."""

    @model_validator(mode="after")
    def _mark_or_compare(self) -> Deadlocks:
        if self.mark and self.model_fields_set & {"most", "least"}:
            raise ValueError("a gate that sets the mark compares nothing: leave out `most` and `least`")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Read the database's counters, and set the mark or compare with it."""
        name = database_name(context, self.database)
        key = f"deadlocks/{name}/{self.since}"
        with connect(context, name) as connection:
            now = dict(zip(_FIELDS, one(connection, _NOW.format(series=SERIES)), strict=True))
        kept = context.recorded(key, of="first")
        if self.mark:
            context.keep(key, kept.value if kept else now)
            told = f"set at {kept.at:%Y-%m-%d %H:%M:%SZ}" if kept else f"set at {now['deadlocks']} so far"
            yield find(f"mark '{self.since}' of database '{name}'", expected="set", actual=told, ok=True)
            yield counted("transactions so far", now["transactions"])
        elif kept is None:
            how = f"`deadlocks: {{since: {self.since}, mark: true}}`"
            actual = f"none of {context.release.name}; it is set by a gate with {how}"
            yield find(f"mark '{self.since}'", expected="one to compare with", actual=actual, ok=Ok.CANNOT_TELL)
        else:
            yield from self._compare(kept, now)

    def _compare(self, kept: Kept, now: dict[str, Any]) -> Iterator[Finding]:
        before: dict[str, Any] = kept.value
        name, expected = f"deadlocks since '{self.since}'", f"<= {self.most}"
        if why := _incomparable(before, now):
            yield find(name, expected=expected, actual=f"cannot be counted: {why}", ok=Ok.CANNOT_TELL)
            return
        rise = now["deadlocks"] - before["deadlocks"]
        actual = f"{rise} since {kept.at:%Y-%m-%d %H:%M:%SZ}"
        hint = "; the server's log names the statements" if rise > self.most else ""
        yield find(name, expected=expected, actual=actual + hint, ok=rise <= self.most)
        yield counted("transactions since", now["transactions"] - before["transactions"], self.least)


def _incomparable(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Why the counters of then and now are not of one series."""
    if now["reset"] != before["reset"]:
        return f"the statistics were reset at {now['reset']}"
    if now["timeline"] != before["timeline"]:
        return f"another server answers now (timeline {now['timeline']}, then {before['timeline']})"
    if now["series"] != before.get("series"):
        return f"a crash threw them away, or another server or database answers now (started at {now['started']})"
    if now["deadlocks"] < before["deadlocks"] or now["transactions"] < before["transactions"]:
        return f"the counters were lost, maybe in a crash (started at {now['started']})"
    return ""
