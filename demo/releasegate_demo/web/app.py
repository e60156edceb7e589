"""The application: its parts, what happens around each request, its pages."""

from __future__ import annotations

import itertools
import re
import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, abort, g, render_template, request, session
from flask.sessions import SecureCookieSessionInterface
from werkzeug.exceptions import HTTPException

from releasegate_demo.web.context import Parts, finish_db, load_user, log, parts, service
from releasegate_demo.web.database import Pool
from releasegate_demo.web.logs import JsonLog
from releasegate_demo.web.metrics import Metrics
from releasegate_demo.web.sessions import Ended
from releasegate_demo.web.views import admin, charts, entry, health, messages, notes, payments, portal, schedule

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from releasegate_demo.web.settings import Settings

OPERATIONS = frozenset({"health.healthz", "health.version", "health.metrics", "static"})
ALWAYS = frozenset({"entry.login", "portal.login", "entry.logout"})
REQUEST_ID = re.compile(r"[\w.:-]{8,64}")
EVERY_NTH = 5
SLOW_SECONDS = 1.5
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Cookies(SecureCookieSessionInterface):
    """Session cookies that are Secure where the request came over HTTPS."""

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002 - the signature is Flask's
        """Tell whether the cookie may travel over HTTPS only."""
        return request.is_secure

    def get_cookie_httponly(self, app: Flask) -> bool:
        """Tell whether scripts are kept from the cookie."""
        return super().get_cookie_httponly(app) and not parts().settings.place.broken("guards")


def create_app(settings: Settings) -> Flask:
    """Return the application of one deployment."""
    app = Flask(__name__)
    app.secret_key = settings.secret_key
    app.session_interface = Cookies()
    app.config.update(
        SESSION_COOKIE_NAME="ehr_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(minutes=30),
        MAX_CONTENT_LENGTH=256 * 1024,
    )
    pool = Pool(settings.dsn)
    app.extensions["ehr"] = Parts(
        settings, pool, JsonLog(settings.place), Metrics(settings, pool), Ended(settings.place)
    )
    app.extensions["ehr_requests"] = itertools.count(1)
    for area in (health, entry, charts, notes, schedule, payments, messages, portal, admin):
        app.register_blueprint(area.pages)
    _hook(app)
    return app


def _hook(app: Flask) -> None:
    app.before_request(_begin)
    app.before_request(lambda: _misbehave(app))
    app.before_request(_identify)
    app.before_request(_protect)
    app.after_request(_end)
    app.teardown_request(lambda _error: finish_db(keep=False))
    app.register_error_handler(Exception, _failed)
    app.context_processor(_common)
    app.add_template_filter(lambda moment: f"{moment:%d %b %Y}", "day")
    app.add_template_filter(lambda moment: f"{moment:%H:%M}", "clock")
    app.add_template_filter(lambda moment: f"{moment:%d %b %Y, %H:%M}", "moment")


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    g.start = time.perf_counter()
    g.user = None
    g.maintenance = False
    parts().metrics.active.inc()


def _is_page() -> bool:
    return request.endpoint not in OPERATIONS


def _misbehave(app: Flask) -> None:
    place = parts().settings.place
    if not _is_page():
        return
    if place.broken("latency"):
        time.sleep(SLOW_SECONDS)
    if place.broken("errors") and next(app.extensions["ehr_requests"]) % EVERY_NTH == 0:
        raise RuntimeError("the break 'errors' is active")


def _identify() -> None:
    if not _is_page():
        return
    with service() as connection:
        row = connection.execute("select value from public.app_settings where name = 'maintenance'").fetchone()
    g.maintenance = row is not None and row["value"] == "on"
    g.user = load_user()


def _protect() -> ResponseReturnValue | None:
    if request.method in ("GET", "HEAD", "OPTIONS") or not _is_page():
        return None
    given = request.form.get("csrf_token") or request.headers.get("X-CSRF-Token", "")
    if not secrets.compare_digest(given.encode(), str(session.get("csrf", secrets.token_hex())).encode()):
        abort(400, "The form has expired. Go back, reload the page and try again.")
    if g.maintenance and request.endpoint not in ALWAYS and (g.user is None or g.user.role != "admin"):
        return closed_for_maintenance()
    return None


def closed_for_maintenance() -> ResponseReturnValue:
    """Return the answer to a change during maintenance."""
    page = render_template("error.html", code=503, text="Scheduled maintenance: changes are closed for now.")
    return page, 503, {"Retry-After": "600"}


def _end(response: Response) -> Response:
    keep = response.status_code < 500
    finish_db(keep=keep)
    route = request.url_rule.rule if request.url_rule is not None else "unmatched"
    seconds = time.perf_counter() - g.start
    metrics = parts().metrics
    metrics.active.dec()
    metrics.requests.labels(request.method, route, str(response.status_code)).inc()
    metrics.duration.labels(request.method, route).observe(seconds)
    level = "info" if response.status_code < 500 else "error"
    numbers = {"status": response.status_code, "ms": round(seconds * 1000, 1)}
    log("request", level, method=request.method, route=route, **numbers)
    response.headers["X-Request-ID"] = g.request_id
    response.headers.update(HEADERS)
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    if request.is_secure and not parts().settings.place.broken("guards"):
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response


def _failed(error: Exception) -> ResponseReturnValue:
    if isinstance(error, HTTPException):
        if error.code is None or error.code < 400:
            return error
        code, text = error.code, error.description or error.name
    else:
        code, text = 500, "Something went wrong on our side. The failure was recorded."
        log("error", "error", error=type(error).__name__, text=str(error))
    finish_db(keep=False)
    return render_template("error.html", code=code, text=text), code


def _common() -> dict[str, Any]:
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return {
        "user": g.get("user"),
        "maintenance": g.get("maintenance", False),
        "csrf_token": session["csrf"],
        "version": parts().settings.version,
        "now": datetime.now(UTC),
    }
