"""The background jobs: a thread that runs each job when it is due and leaves the time in its row."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg

from releasegate_demo.web.database import PoolTimeoutError

if TYPE_CHECKING:
    from releasegate_demo.web.context import Parts

TICK_SECONDS = 0.5
DUE = b"""
update public.background_jobs set last_run_at = clock_timestamp(), runs = runs + 1
where (last_run_at is null or last_run_at <= clock_timestamp() - make_interval(secs => every_seconds))
  and not exists (select from public.app_settings where name = 'jobs_paused' and value = 'on')
returning name
"""


def start(parts: Parts, stop: threading.Event) -> threading.Thread:
    """Start the thread; it ends soon after `stop` is set."""
    thread = threading.Thread(target=_loop, args=(parts, stop), name="jobs", daemon=True)
    thread.start()
    return thread


def _loop(parts: Parts, stop: threading.Event) -> None:
    while not stop.wait(TICK_SECONDS):
        try:
            with parts.pool.session("service_role") as connection:
                ran = connection.execute(DUE).fetchall()
        except (psycopg.Error, PoolTimeoutError) as error:
            parts.log.write("job failed", "error", error=type(error).__name__)
            continue
        for row in ran:
            parts.metrics.jobs.labels(row["name"]).inc()
            parts.log.write("job finished", job=row["name"])
