"""Messages between clients and their clinician, as the staff see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from releasegate_demo.web.context import audit, changed, field, log, one, only, parts, rows, test_run, user, whole

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

pages = Blueprint("messages", __name__)
THREADS = """
select * from (
  select distinct on (m.client_id) m.client_id, m.sent_at, m.sender, left(m.body, 80) as excerpt, m.id,
    c.first_name || ' ' || c.last_name as client, m.sender = 'client' and m.read_at is null as unread
  from messages m join clients c on c.id = m.client_id order by m.client_id, m.sent_at desc, m.id desc
) latest order by sent_at desc, id desc limit 9
"""
THREAD = """
select * from (select id, sender, body, sent_at, author_id::text, test_run from messages where client_id = %s
  order by sent_at desc, id desc limit 5) newest order by sent_at, id
"""
INSERT = """
insert into messages (client_id, author_id, sender, body, test_run) values (%s, %s, %s, %s, %s) returning id
"""


@pages.get("/messages")
@only("clinician", "admin")
def index() -> ResponseReturnValue:
    """Show the threads, and the one that `client` names (the newest by default)."""
    threads = rows(THREADS)
    client = whole(request.args.get("client", "")) or (threads[0]["client_id"] if threads else None)
    who = (
        one("select id, first_name || ' ' || last_name as name from clients where id = %s", client) if client else None
    )
    if client and user().role == "clinician":
        changed(
            "update messages set read_at = now() where client_id = %s and sender = 'client' and read_at is null", client
        )
    return render_template("messages.html", threads=threads, thread=rows(THREAD, client) if who else [], client=who)


@pages.post("/messages")
@only("clinician")
def reply() -> ResponseReturnValue:
    """Send a message to a client."""
    client = whole(field("client"))
    if client is None or not field("body"):
        abort(400, "Write a message.")
    send(client, "staff")
    return redirect(url_for("messages.index", client=client))


def send(client: int, sender: str) -> None:
    """Store a message; its text goes to the log through redaction."""
    try:
        made = one(INSERT, client, user().id, sender, field("body"), test_run())
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ForeignKeyViolation):
        abort(403, "You can write to your own clients only.")
    parts().metrics.messages.labels(sender).inc()
    log("message sent", message_id=made["id"] if made else None, sender=sender, text=field("body", 200))
    flash("Message sent")


@pages.post("/messages/<int:message>/delete")
@only("clinician")
def delete(message: int) -> ResponseReturnValue:
    """Delete a message that a test sent."""
    remove(message)
    return redirect(url_for("messages.index"))


def remove(message: int) -> None:
    """Delete one's own message, where a test sent it."""
    if not changed("delete from messages where id = %s", message):
        abort(404, "There is no such message, or it is not yours to delete.")
    audit("delete", "messages", message, "message deleted", "critical")
    flash("Message deleted")
