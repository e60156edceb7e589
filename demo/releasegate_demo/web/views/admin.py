"""Administration: roles, feature flags, maintenance, background jobs, the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, abort, flash, redirect, render_template, url_for

from releasegate_demo.web.context import audit, changed, field, log, only, rows, user

if TYPE_CHECKING:
    from uuid import UUID

    from flask.typing import ResponseReturnValue

pages = Blueprint("admin", __name__, url_prefix="/admin")
ROLES = ("clinician", "admin", "billing")
AUDIT = """
select a.created_at, a.action_type, a.resource_type, a.resource_id, a.severity, s.full_name
from audit_logs a left join staff s on s.id = a.user_id order by a.id desc limit 40
"""


@pages.get("")
@only("admin")
def index() -> ResponseReturnValue:
    """Show what an administrator may change."""
    settings = {row["name"]: row["value"] for row in rows("select name, value from app_settings")}
    lists = {
        "staff": rows("select id, full_name, title, role from staff where active order by full_name"),
        "flags": rows("select name, description, enabled from feature_flags order by name"),
        "jobs": rows("select name, description, runs, last_run_at from background_jobs order by name"),
    }
    return render_template("admin.html", settings=settings, roles=ROLES, **lists)


@pages.get("/audit")
@only("admin")
def audit_log() -> ResponseReturnValue:
    """Show the newest rows of the audit log."""
    return render_template("audit.html", entries=rows(AUDIT))


@pages.post("/staff/<uuid:member>/role")
@only("admin")
def role(member: UUID) -> ResponseReturnValue:
    """Give a member of staff another role; nobody changes their own."""
    wanted = field("role", 20)
    if wanted not in ROLES or str(member) == user().id:
        abort(400, "Choose a role for somebody else.")
    if not changed("update staff set role = %s where id = %s", wanted, member):
        abort(404, "There is no such member of staff.")
    audit("role_change", "staff", member, f"role set to {wanted}", "critical")
    flash("Role changed")
    return redirect(url_for("admin.index"))


@pages.post("/flags/<name>")
@only("admin")
def flag(name: str) -> ResponseReturnValue:
    """Switch a feature on or off."""
    on = _wanted()
    if not changed("update feature_flags set enabled = %s, updated_at = now() where name = %s", on, name):
        abort(404, "There is no such feature.")
    audit("feature_flag", "feature_flags", name, f"switched {'on' if on else 'off'}", "warning")
    flash("Feature changed")
    return redirect(url_for("admin.index"))


@pages.post("/maintenance")
@only("admin")
def maintenance() -> ResponseReturnValue:
    """Begin or end maintenance."""
    return _switch("maintenance", "Maintenance is on", "Maintenance is off")


@pages.post("/jobs")
@only("admin")
def jobs() -> ResponseReturnValue:
    """Pause or resume background jobs."""
    return _switch("jobs_paused", "Background jobs are paused", "Background jobs are running")


def _wanted() -> bool:
    if field("value") not in ("on", "off"):
        abort(400, "Say on or off.")
    return field("value") == "on"


def _switch(name: str, on: str, off: str) -> ResponseReturnValue:
    value = "on" if _wanted() else "off"
    changed("update app_settings set value = %s, updated_at = now() where name = %s", value, name)
    audit(name, "app_settings", name, f"switched {value}", "critical")
    log(name.replace("_", " "), "warning", value=value)
    flash(on if value == "on" else off)
    return redirect(url_for("admin.index"))
