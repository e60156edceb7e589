"""Counters and histograms of the application, in a registry of their own."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

if TYPE_CHECKING:
    from releasegate_demo.web.database import Pool
    from releasegate_demo.web.settings import Settings

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class Metrics:
    """All metrics of one web process."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.registry = registry = CollectorRegistry()
        labels = ["method", "route", "code"]
        self.requests = Counter("http_requests", "Requests answered.", labels, registry=registry)
        self.duration = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request.",
            ["method", "route"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.active = Gauge("http_requests_in_progress", "Requests being answered.", registry=registry)
        self.logins = Counter("logins", "Login attempts.", ["kind", "result"], registry=registry)
        self.clients = Counter("clients_created", "Clients created.", registry=registry)
        self.notes = Counter("notes_saved", "Notes saved.", registry=registry)
        self.appointments = Counter("appointments_booked", "Appointments booked.", registry=registry)
        self.payments = Counter("payments_recorded", "Payments recorded.", registry=registry)
        self.messages = Counter("messages_sent", "Messages sent.", ["sender"], registry=registry)
        self.phi = Counter("phi_access", "Charts and notes viewed.", ["resource"], registry=registry)
        self.jobs = Counter("background_job_runs", "Runs of background jobs.", ["job"], registry=registry)
        info = Gauge("app_info", "The deployed release.", ["version", "commit"], registry=registry)
        info.labels(settings.version, settings.commit).set(1)
        _watch_pool(pool, registry)
        _watch_process(registry)


def _watch_pool(pool: Pool, registry: CollectorRegistry) -> None:
    Gauge("db_pool_size", "Connections the pool may open.", registry=registry).set(pool.size)
    Gauge("db_pool_open", "Connections open.", registry=registry).set_function(lambda: pool.open)
    Gauge("db_pool_in_use", "Connections lent.", registry=registry).set_function(lambda: pool.in_use)
    Gauge("db_pool_waiting", "Requests waiting for a connection.", registry=registry).set_function(lambda: pool.waiting)


def _watch_process(registry: CollectorRegistry) -> None:
    if sys.platform == "linux":
        ProcessCollector(registry=registry)
    else:
        start = Gauge("process_start_time_seconds", "Start time since the epoch in seconds.", registry=registry)
        start.set(time.time())
