"""T15.7: the database as it is while the release is watched: deadlocks that go on, and connections that run out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.params import format_duration
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from pytest_releasegate.check import Context

WATCH = timedelta(minutes=15)
MOST_DEADLOCKS = 2
"""A busy database resolves one now and then; more within one watch are a defect of the release."""
MOST_CONNECTIONS = 90
"""Percent of what is allowed."""
DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"
CONNECTIONS = """
    select round(100.0 * count(*) / current_setting('max_connections')::int)::int
    from pg_stat_activity where backend_type = 'client backend'
"""


def number(context: Context, query: str) -> int:
    """The one number that the query gives, over a connection of its own, since statistics stay within one."""
    with connect(context) as connection:
        return connection.execute(query).fetchone()[0]


@pytest.mark.gate("T15.7")
def test_neither_deadlocks_nor_connections_run_away(gate_context, finding):
    """Look at both ends of the watch."""
    watch = gate_context.environment.watch or WATCH
    before, used = number(gate_context, DEADLOCKS), number(gate_context, CONNECTIONS)
    gate_context.clock.sleep(watch.total_seconds())
    risen = number(gate_context, DEADLOCKS) - before
    used = max(used, number(gate_context, CONNECTIONS))
    finding("watched", expected=f"{format_duration(watch)}", actual=f"{format_duration(watch)}", ok=True)
    finding("deadlocks meanwhile", expected=f"<= {MOST_DEADLOCKS}", actual=risen, ok=0 <= risen <= MOST_DEADLOCKS)
    finding("connections in use", expected=f"< {MOST_CONNECTIONS} %", actual=f"{used} %", ok=used < MOST_CONNECTIONS)
