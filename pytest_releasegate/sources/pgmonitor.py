"""What a server tells of its own running, to whoever may see all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    import psycopg

__all__ = ["SERIES", "one", "require_monitor", "rows", "series"]

Row = tuple[Any, ...]
SERIES = """
(select system_identifier::text from pg_catalog.pg_control_system())
|| '/' || (select oid::text from pg_catalog.pg_database where datname = pg_catalog.current_database())
|| '/' || (select coalesce(stats_reset::text, '') from pg_catalog.pg_stat_bgwriter)
"""
"""What counters of one series have in common: cluster, database, and statistics that no crash threw away."""
_MAY = "select current_user, pg_catalog.pg_has_role(current_user, 'pg_monitor', 'usage')"


def require_monitor(connection: psycopg.Connection[Any]) -> None:
    """Raise `CannotLook` where the role sees only its own sessions: all others would look idle and harmless."""
    user, may = one(connection, _MAY)
    if not may:
        raise CannotLook(f"the role {user} may not see what others do", f"grant pg_monitor to {user}")


def rows(connection: psycopg.Connection[Any], query: str, values: dict[str, Any] | None = None) -> list[Row]:
    """The rows of a query of our own."""
    return connection.execute(query.encode(), values).fetchall()


def one(connection: psycopg.Connection[Any], query: str, values: dict[str, Any] | None = None) -> Row:
    """The only row of a query of our own."""
    (row,) = rows(connection, query, values)
    return row


def series(connection: psycopg.Connection[Any]) -> str:
    """What tells this database of this server from all others, standbys too."""
    return str(one(connection, f"select {SERIES}")[0])
