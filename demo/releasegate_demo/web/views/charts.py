"""Clients: list, chart, new client, care plans once the schema has them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import psycopg
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from releasegate_demo.web.context import audit, changed, field, log, one, only, parts, rows, test_run, user, whole

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from releasegate_demo.web.database import Row

pages = Blueprint("charts", __name__)
PAGE = 11
LIST = """
select id, number, first_name, last_name, date_of_birth, status,
  (select max(starts_at) from appointments a where a.client_id = clients.id and a.starts_at < now()
     and a.status = 'completed') as seen, count(*) over () as total
from clients where (%s = '' or (first_name || ' ' || last_name || ' ' || number) ilike %s)
  and (%s = '' or status = %s)
order by last_name, first_name, id limit %s offset %s
"""
CHART = """
select c.*, s.full_name as clinician, to_jsonb(c) ->> 'preferred_name' as preferred
from clients c join staff s on s.id = c.clinician_id where c.id = %s
"""
VISITS = """
select id, starts_at, status, reason, mode from appointments where client_id = %s order by starts_at desc limit 4
"""
NOTES = "select id, created_at, kind, status from notes where client_id = %s order by created_at desc, id desc limit 4"
PAYMENTS = """
select id, paid_at, amount, method, status, billing_code from payments where client_id = %s
order by paid_at desc limit 5
"""
PLANS = "select id, goal, status, review_on from care_plans where client_id = %s order by review_on"
INSERT = """
insert into clients (clinician_id, first_name, last_name, date_of_birth, email, phone, test_run)
values (%s, %s, %s, %s, %s, %s, %s) returning id
"""
SIGNED = """
select 1 as yes from clients c join notes n on n.client_id = c.id and n.status = 'signed'
where c.id = %s and (c.test_run is not null or %s = 'admin') limit 1
"""


def has_care_plans() -> bool:
    """Tell whether the migration of release 1.4.0 has run."""
    row = one("select to_regclass('public.care_plans') is not null as there")
    return row is not None and bool(row["there"])


@pages.get("/clients")
@only("clinician", "admin")
def index() -> ResponseReturnValue:
    """List clients; `q` searches in names and numbers."""
    query, page = request.args.get("q", "").strip(), max(whole(request.args.get("page", "1")) or 1, 1)
    status = request.args.get("status", "")
    found = rows(LIST, query, f"%{query}%", status, status, PAGE, (page - 1) * PAGE)
    total = found[0]["total"] if found else 0
    return render_template("clients.html", clients=found, query=query, page=page, pages=-(-total // PAGE), total=total)


@pages.route("/clients/new", methods=["GET", "POST"])
@only("clinician", "admin")
def new() -> ResponseReturnValue:
    """Create a client."""
    given = {name: field(name, 200) for name in ("first_name", "last_name", "date_of_birth", "email", "phone")}
    preferred, plans = field("preferred_name", 200), has_care_plans()
    problem = _problem(given) if request.method == "POST" else None
    if request.method == "GET" or problem:
        page = render_template("client_form.html", given=given, problem=problem, clinicians=_clinicians(), plans=plans)
        return page, 400 if problem else 200
    owner = user().id if user().role == "clinician" else field("clinician_id", 40)
    made = one(INSERT, owner, *given.values(), test_run())
    key = made["id"] if made is not None else abort(500)
    if plans and preferred:
        changed("update clients set preferred_name = %s where id = %s", preferred, key)
    parts().metrics.clients.inc()
    log("client created", client_id=key, first_name=given["first_name"], last_name=given["last_name"])
    flash("Client created")
    return redirect(url_for("charts.chart", client=key))


def _problem(given: dict[str, str]) -> str | None:
    if not given["first_name"] or not given["last_name"]:
        return "Enter a first and a last name."
    try:
        born = date.fromisoformat(given["date_of_birth"])
    except ValueError:
        return "Enter the date of birth as year, month, day."
    return None if born.year >= 1900 and born <= date.today() else "The date of birth is not possible."


def _clinicians() -> list[Row]:
    return rows("select id, full_name from staff where role = 'clinician' and active order by full_name")


@pages.get("/clients/<int:client>")
@only("clinician", "admin")
def chart(client: int) -> ResponseReturnValue:
    """Show a chart; looking leaves a row in the audit log."""
    found = one(CHART, client)
    if found is None:
        abort(404, "There is no such client, or the chart is not yours to see.")
    audit("phi_access", "clients", client, "chart viewed")
    parts().metrics.phi.labels("clients").inc()
    lists: dict[str, Any] = {"visits": rows(VISITS, client), "notes": rows(NOTES, client)}
    lists |= {"payments": rows(PAYMENTS, client), "plans": rows(PLANS, client) if has_care_plans() else None}
    return render_template("client.html", client=found, **lists)


@pages.post("/clients/<int:client>/delete")
@only("clinician", "admin")
def delete(client: int) -> ResponseReturnValue:
    """Delete a client with all that hangs on it; a client with payments or signed notes stays."""
    if one(SIGNED, client, user().role):
        abort(409, "The client has signed notes and cannot be deleted.")
    try:
        if not changed("delete from clients where id = %s", client):
            abort(404, "There is no such client, or it is not yours to delete.")
    except psycopg.errors.ForeignKeyViolation:
        abort(409, "The client has payments and cannot be deleted.")
    audit("delete", "clients", client, "client deleted", "critical")
    flash("Client deleted")
    return redirect(url_for("charts.index"))


@pages.post("/clients/<int:client>/discharge")
@only("clinician", "admin")
def discharge(client: int) -> ResponseReturnValue:
    """Discharge a client: the chart stays, nobody is in care any more."""
    if not changed("update clients set status = 'discharged', updated_at = now() where id = %s", client):
        abort(404, "There is no such client, or it is not yours to discharge.")
    audit("discharge", "clients", client, "client discharged")
    flash("Client discharged")
    return redirect(url_for("charts.chart", client=client))


@pages.post("/clients/<int:client>/care-plans")
@only("clinician")
def plan(client: int) -> ResponseReturnValue:
    """Add a care plan to a chart."""
    if not has_care_plans() or not field("goal"):
        abort(400, "Enter a goal.")
    values = (client, user().id, field("goal", 500), field("review_on", 10), test_run())
    try:
        changed(
            "insert into care_plans (client_id, author_id, goal, review_on, test_run) values (%s,%s,%s,%s,%s)", *values
        )
    except psycopg.DataError:
        abort(400, "Enter the date of the review.")
    flash("Care plan added")
    return redirect(url_for("charts.chart", client=client))


@pages.post("/care-plans/<int:key>/delete")
@only("clinician")
def delete_plan(key: int) -> ResponseReturnValue:
    """Delete a care plan that a test made."""
    if not has_care_plans() or not changed("delete from care_plans where id = %s", key):
        abort(404, "There is no such care plan, or it is not yours to delete.")
    audit("delete", "care_plans", key, "care plan deleted", "critical")
    flash("Care plan deleted")
    return redirect(url_for("charts.index"))
