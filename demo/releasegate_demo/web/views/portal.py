"""The client portal: login, dashboard, messages to the clinician."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, abort, g, redirect, render_template, request, url_for

from releasegate_demo.web.context import field, one, only, rows, user
from releasegate_demo.web.views import entry, messages

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

pages = Blueprint("portal", __name__, url_prefix="/portal")
MINE = """
select c.number, c.first_name, c.last_name, s.full_name as clinician, s.title
from clients c join staff s on s.id = c.clinician_id where c.id = %s
"""
COMING = """
select starts_at, ends_at, reason, mode from appointments where starts_at > now() and status = 'booked'
order by starts_at limit 3
"""
FLAG = "select enabled from feature_flags where name = 'portal_messages'"


@pages.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Log a client in."""
    if request.method == "GET":
        if g.user is not None and g.user.role == "portal":
            return redirect(url_for("portal.home"))
        return render_template("auth.html", kind="portal")
    found = entry.check("portal")
    if found is None:
        return entry.refuse("portal")
    if g.maintenance:
        return render_template("error.html", code=503, text="Scheduled maintenance: please come back later."), 503
    entry.admit("portal", found)
    return redirect(url_for("portal.home"))


def _open() -> bool:
    row = one(FLAG)
    return row is not None and bool(row["enabled"])


@pages.get("")
@only("portal")
def home() -> ResponseReturnValue:
    """Show the client's own record."""
    thread = rows(messages.THREAD, user().client_id)
    return render_template(
        "portal.html", me=one(MINE, user().client_id), coming=rows(COMING), thread=thread, open=_open()
    )


@pages.post("/messages")
@only("portal")
def send() -> ResponseReturnValue:
    """Send a message to the clinician."""
    if not _open():
        abort(403, "Messages are switched off at the moment.")
    if not field("body") or user().client_id is None:
        abort(400, "Write a message.")
    messages.send(user().client_id or 0, "client")
    return redirect(url_for("portal.home"))


@pages.post("/messages/<int:message>/delete")
@only("portal")
def delete(message: int) -> ResponseReturnValue:
    """Delete a message that a test sent."""
    messages.remove(message)
    return redirect(url_for("portal.home"))
