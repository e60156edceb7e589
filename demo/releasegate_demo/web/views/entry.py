"""Login of the staff, dashboard, logout."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from flask import Blueprint, flash, g, redirect, render_template, request, session, url_for
from werkzeug.security import check_password_hash, generate_password_hash

from releasegate_demo.web.context import audit_as_service, field, log, one, only, parts, rows, service, user

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from releasegate_demo.web.database import Row

pages = Blueprint("entry", __name__)
# so that an unknown address takes as long as a wrong password
_NOBODY = generate_password_hash("nobody", "scrypt:16384:8:1")


@pages.get("/")
def home() -> ResponseReturnValue:
    """Send people to the page they start from."""
    if g.user is None:
        return redirect(url_for("entry.login"))
    return redirect(url_for("portal.home" if g.user.role == "portal" else "entry.dashboard"))


@pages.route("/auth", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Log a member of staff in."""
    if request.method == "GET":
        if g.user is not None and g.user.role != "portal":
            return redirect(url_for("entry.dashboard"))
        return render_template("auth.html", kind="staff")
    found = check("staff")
    if found is None:
        return refuse("staff")
    if g.maintenance and found["role"] != "admin":
        return render_template(
            "error.html", code=503, text="Scheduled maintenance: only administrators can log in."
        ), 503
    admit("staff", found)
    return redirect(_next("/dashboard"))


@pages.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session."""
    portal = g.user is not None and g.user.role == "portal"
    if key := session.get("key"):
        parts().ended.add(key)
    session.clear()
    flash("You have been signed out.")
    return redirect(url_for("portal.login" if portal else "entry.login"))


@pages.get("/dashboard")
@only("clinician", "admin", "billing")
def dashboard() -> ResponseReturnValue:
    """Show what today holds."""
    lists = {"today": rows(TODAY), "notes": rows(RECENT), "payments": rows(PAID) if user().role == "billing" else []}
    return render_template("dashboard.html", counts=one(COUNTS) or {}, **lists)


COUNTS = """
select (select count(*) from clients where status = 'active') as clients,
  (select count(*) from appointments where starts_at::date = (now() at time zone 'utc')::date
     and status <> 'cancelled') as appointments,
  (select count(*) from notes where status = 'draft') as drafts,
  (select count(*) from messages where sender = 'client' and read_at is null) as unread,
  (select count(*) from payments where paid_at > now() - interval '30 days') as payments,
  (select coalesce(sum(amount), 0) from payments where paid_at > now() - interval '30 days') as amount
"""
TODAY = """
select a.id, a.starts_at, a.ends_at, a.reason, a.mode, c.id as client_id, c.first_name || ' ' || c.last_name as client
from appointments a join clients c on c.id = a.client_id
where a.starts_at::date = (now() at time zone 'utc')::date and a.status <> 'cancelled' order by a.starts_at limit 7
"""
RECENT = """
select n.id, n.created_at, n.status, n.kind, c.first_name || ' ' || c.last_name as client
from notes n join clients c on c.id = n.client_id order by n.created_at desc, n.id desc limit 5
"""
PAID = """
select receipt, paid_at, amount, status, method, public.client_number_of(client_id) as number
from payments order by paid_at desc, id desc limit 7
"""
ACCOUNT = {
    "staff": b"""select u.id::text, u.password_hash, s.role from auth.users u join public.staff s using (id)
                 where u.email = %s and s.active""",
    "portal": b"""select u.id::text, u.password_hash, 'portal' as role from auth.users u
                  join public.portal_accounts p using (id) where u.email = %s and p.active""",
}


def check(kind: str) -> Row | None:
    """Return the account whose e-mail and password were given, or None."""
    with service() as connection:
        found = connection.execute(ACCOUNT[kind], [field("email", 200).lower()]).fetchone()
    stored = found["password_hash"] if found is not None and "$" in found["password_hash"] else _NOBODY
    right = check_password_hash(stored, request.form.get("password", ""))
    if kind == "staff" and parts().settings.place.broken("login"):
        return None
    return found if right else None


def admit(kind: str, account: Row) -> None:
    """Start a new session for an account."""
    session.clear()
    session.permanent = True
    session["user"], session["kind"], session["key"] = account["id"], kind, secrets.token_urlsafe(16)
    with service() as connection:
        connection.execute("update auth.users set last_sign_in_at = now() where id = %s", [account["id"]])
    audit_as_service("login", kind, "login", "info", account["id"])
    parts().metrics.logins.labels(kind, "success").inc()
    log("login", kind=kind, account=account["id"])


def refuse(kind: str) -> ResponseReturnValue:
    """Answer a failed login; say neither that the address is unknown nor that the password is wrong."""
    parts().metrics.logins.labels(kind, "failure").inc()
    audit_as_service("login_failed", kind, "login refused", "warning")
    log("login failed", "warning", kind=kind, email=field("email", 200))
    return render_template("auth.html", kind=kind, error="The e-mail address or the password is not right."), 401


def _next(default: str) -> str:
    wanted = request.args.get("next", "")
    return wanted if wanted.startswith("/") and not wanted.startswith(("//", "/\\")) else default
