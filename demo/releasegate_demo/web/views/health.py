"""What machines ask: health, version, metrics."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import psycopg
from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from releasegate_demo.web.context import parts, service
from releasegate_demo.web.database import PoolTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.typing import ResponseReturnValue

pages = Blueprint("health", __name__)
TIMEOUT_SECONDS = 0.5
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pages.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Look at everything the application needs: 200 when all answer, 503 when one does not."""
    checks = {
        "database": _timed(_database),
        "email": _timed(lambda: _dependency("email")),
        "sms": _timed(lambda: _dependency("sms")),
    }
    ok = all(check["ok"] for check in checks.values())
    return jsonify(status="ok" if ok else "degraded", checks=checks), 200 if ok else 503


@pages.get("/version")
def version() -> ResponseReturnValue:
    """Say which release this is."""
    told = parts().settings
    return jsonify(version=told.version, commit=told.commit, deployed_at=told.deployed_at)


@pages.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Return all metrics in the Prometheus text format."""
    return Response(generate_latest(parts().metrics.registry), content_type=CONTENT_TYPE_LATEST)


def _timed(look: Callable[[], bool]) -> dict[str, Any]:
    start = time.perf_counter()
    ok = look()
    return {"ok": ok, "ms": round((time.perf_counter() - start) * 1000, 1)}


def _database() -> bool:
    try:
        with service() as connection:
            return connection.execute("select 1 as one").fetchone() is not None
    except (psycopg.Error, PoolTimeoutError):
        return False


def _dependency(name: str) -> bool:
    try:
        with _direct.open(f"{parts().settings.services_url}/{name}/health", timeout=TIMEOUT_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
