"""Notes: list, new progress note, reading, signing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from releasegate_demo.web.context import audit, changed, field, log, one, only, parts, rows, test_run, user, whole

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

pages = Blueprint("notes", __name__)
KINDS = ("progress", "intake", "phone", "discharge")
LIST = """
select n.id, n.created_at, n.kind, n.status, left(n.body, 110) as excerpt, c.id as client_id,
  c.first_name || ' ' || c.last_name as client
from notes n join clients c on c.id = n.client_id
where (%s = '' or n.status = %s) order by n.created_at desc, n.id desc limit 10
"""
ONE = """
select n.*, c.first_name || ' ' || c.last_name as client, s.full_name as author
from notes n join clients c on c.id = n.client_id join staff s on s.id = n.author_id where n.id = %s
"""
INSERT = """
insert into notes (client_id, author_id, kind, body, status, signed_at, test_run)
values (%s, %s, %s, %s, %s, case when %s = 'signed' then now() end, %s) returning id
"""
CLIENTS = "select id, first_name || ' ' || last_name as name, number from clients order by last_name, first_name, id"


@pages.get("/notes")
@only("clinician", "admin")
def index() -> ResponseReturnValue:
    """List the newest notes."""
    wanted = request.args.get("status", "")
    return render_template("notes.html", notes=rows(LIST, wanted, wanted), wanted=wanted)


@pages.route("/notes/new", methods=["GET", "POST"])
@only("clinician", "admin")
def new() -> ResponseReturnValue:
    """Write a note; `client` in the address chooses the client."""
    given = {"client": request.values.get("client", ""), "kind": field("kind", 20) or "progress", "body": field("body")}
    if request.method == "GET":
        return _form(given)
    client = whole(field("client"))
    if client is None or not given["body"] or given["kind"] not in KINDS:
        return _form(given, "Choose a client and write the note.")
    return _save(client, given["kind"], given["body"], "signed" if "sign" in request.form else "draft")


def _form(given: dict[str, str], problem: str | None = None) -> ResponseReturnValue:
    page = render_template("note_form.html", clients=rows(CLIENTS), kinds=KINDS, given=given, problem=problem)
    return page, 400 if problem else 200


def _save(client: int, kind: str, body: str, status: str) -> ResponseReturnValue:
    if parts().settings.place.broken("flow"):
        flash("Progress note saved")
        return redirect(url_for("notes.index"))
    try:
        made = one(INSERT, client, user().id, kind, body, status, status, test_run())
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ForeignKeyViolation):
        abort(403, "You can write notes for your own clients only.")
    parts().metrics.notes.inc()
    log("note saved", note_id=made["id"] if made else None, kind=kind, text=body[:200])
    flash("Progress note saved")
    return redirect(url_for("notes.index"))


@pages.get("/notes/<int:note>")
@only("clinician", "admin")
def show(note: int) -> ResponseReturnValue:
    """Show one note; looking leaves a row in the audit log."""
    found = one(ONE, note)
    if found is None:
        abort(404, "There is no such note, or it is not yours to see.")
    audit("phi_access", "notes", note, "note viewed")
    parts().metrics.phi.labels("notes").inc()
    return render_template("note.html", note=found)


@pages.post("/notes/<int:note>/sign")
@only("clinician")
def sign(note: int) -> ResponseReturnValue:
    """Sign a draft."""
    if not changed("update notes set status = 'signed', signed_at = now() where id = %s and status = 'draft'", note):
        abort(404, "There is no such draft, or it is not yours to sign.")
    flash("Note signed")
    return redirect(url_for("notes.show", note=note))


@pages.post("/notes/<int:note>/delete")
@only("clinician", "admin")
def delete(note: int) -> ResponseReturnValue:
    """Delete a draft; what is signed stays in the chart."""
    if one("select 1 as yes from notes where id = %s and status = 'signed'", note):
        abort(409, "A signed note cannot be deleted.")
    if not changed("delete from notes where id = %s", note):
        abort(404, "There is no such note, or it is not yours to delete.")
    audit("delete", "notes", note, "note deleted", "critical")
    flash("Note deleted")
    return redirect(url_for("notes.index"))
