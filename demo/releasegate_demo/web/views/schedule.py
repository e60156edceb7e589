"""The day calendar: half-hour slots from 08:00 to 18:00 UTC; a free one books an appointment."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import psycopg
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from releasegate_demo.web.context import audit, field, log, one, only, parts, rows, test_run, user, whole
from releasegate_demo.web.views.notes import CLIENTS

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from releasegate_demo.web.database import Row

pages = Blueprint("schedule", __name__)
OPENS, CLOSES, SLOT = time(8), time(18), timedelta(minutes=30)
MODES = {"in_person": "In person", "video": "Video", "phone": "Phone"}
DAY = """
select a.id, a.starts_at, a.ends_at, a.reason, a.mode, a.status, c.id as client_id,
  c.first_name || ' ' || c.last_name as client
from appointments a join clients c on c.id = a.client_id
where a.clinician_id = %s and a.starts_at >= %s and a.starts_at < %s and a.status <> 'cancelled' order by a.starts_at
"""
ONE = """
select a.*, c.first_name || ' ' || c.last_name as client, s.full_name as clinician
from appointments a join clients c on c.id = a.client_id join staff s on s.id = a.clinician_id where a.id = %s
"""
OVERLAP = """
select id from appointments where clinician_id::text = %s and starts_at < %s and ends_at > %s and status <> 'cancelled'
"""
INSERT = """
insert into appointments (client_id, clinician_id, starts_at, ends_at, reason, mode, test_run)
values (%s, %s, %s, %s, %s, %s, %s) returning id
"""


@pages.get("/schedule")
@only("clinician", "admin")
def index() -> ResponseReturnValue:
    """Show one day (`day`, today by default) of one clinician."""
    day = _day(request.args.get("day", ""))
    clinicians = rows("select id::text, full_name from staff where role = 'clinician' and active order by full_name")
    whose = _whose(request.args.get("clinician", ""), clinicians)
    start = datetime.combine(day, time(0), UTC)
    booked = rows(DAY, whose, start, start + timedelta(days=1))
    near = {"before": day - timedelta(days=1), "after": day + timedelta(days=1)}
    slots = _slots(day, booked)
    return render_template(
        "schedule.html", day=day, slots=slots, clinicians=clinicians, whose=whose, booked=booked, **near
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC).date()


def _whose(wanted: str, clinicians: list[Row]) -> str:
    if user().role == "clinician":
        return user().id
    known = [row["id"] for row in clinicians]
    return wanted if wanted in known else known[0]


def _slots(day: date, booked: list[Row]) -> list[tuple[datetime, Row | None]]:
    """Return each half hour with the appointment that begins in it; those an appointment runs over are left out."""
    found: list[tuple[datetime, Row | None]] = []
    at, end = datetime.combine(day, OPENS, UTC), datetime.combine(day, CLOSES, UTC)
    while at < end:
        taken = next((row for row in booked if row["starts_at"] < at + SLOT and row["ends_at"] > at), None)
        if taken is None or at <= taken["starts_at"] or at == datetime.combine(day, OPENS, UTC):
            found.append((at, taken))
        at += SLOT
    return found


@pages.route("/schedule/new", methods=["GET", "POST"])
@only("clinician", "admin")
def new() -> ResponseReturnValue:
    """Book the slot that `start` names."""
    try:
        start = datetime.fromisoformat(request.values.get("start", ""))
    except ValueError:
        abort(400, "Choose a time on the calendar.")
    start = start if start.tzinfo else start.replace(tzinfo=UTC)
    whose = user().id if user().role == "clinician" else request.values.get("clinician", "")
    client, length = whole(field("client")), whole(field("minutes"))
    if request.method == "GET" or client is None or length not in (30, 60, 90):
        page = render_template("appointment_form.html", start=start, whose=whose, clients=rows(CLIENTS), modes=MODES)
        return page, 200 if request.method == "GET" else 400
    return _book(client, whose, start, start + timedelta(minutes=length))


def _book(client: int, whose: str, start: datetime, end: datetime) -> ResponseReturnValue:
    if one(OVERLAP, whose, end, start) is not None:
        abort(409, "This time was taken meanwhile. Choose another.")
    mode = field("mode") if field("mode") in MODES else "in_person"
    try:
        made = one(INSERT, client, whose, start, end, field("reason", 200), mode, test_run())
    except psycopg.errors.UniqueViolation:
        abort(409, "This time was taken meanwhile. Choose another.")
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ForeignKeyViolation, psycopg.DataError):
        abort(403, "You can book your own clients only.")
    parts().metrics.appointments.inc()
    log("appointment booked", appointment_id=made["id"] if made else None, text=field("reason", 200))
    flash("Appointment booked")
    return redirect(url_for("schedule.index", day=start.date().isoformat(), clinician=whose))


@pages.get("/appointments/<int:appointment>")
@only("clinician", "admin")
def show(appointment: int) -> ResponseReturnValue:
    """Show one appointment."""
    found = one(ONE, appointment)
    if found is None:
        abort(404, "There is no such appointment, or it is not yours to see.")
    return render_template("appointment.html", appointment=found, modes=MODES)


@pages.post("/appointments/<int:appointment>/delete")
@only("clinician", "admin")
def delete(appointment: int) -> ResponseReturnValue:
    """Delete an appointment."""
    gone = one("delete from appointments where id = %s returning starts_at", appointment)
    if gone is None:
        abort(404, "There is no such appointment, or it is not yours to delete.")
    audit("delete", "appointments", appointment, "appointment deleted", "critical")
    flash("Appointment deleted")
    return redirect(url_for("schedule.index", day=gone["starts_at"].astimezone(UTC).date().isoformat()))
