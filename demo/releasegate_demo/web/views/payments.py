"""Payments: the newest, and recording one."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import psycopg
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from releasegate_demo.web.context import audit, changed, field, log, one, only, parts, rows, test_run, user

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

pages = Blueprint("payments", __name__)
METHODS = ("card", "cash", "check", "insurance")
LIST = """
select p.id, p.receipt, p.paid_at, p.amount, p.method, p.status, p.billing_code, p.recorded_by::text, p.test_run,
  public.client_number_of(p.client_id) as number
from payments p where (%s = '' or p.client_id = public.client_by_number(%s)) order by p.paid_at desc, p.id desc limit 9
"""
INSERT = """
insert into payments (client_id, recorded_by, billing_code, amount, method, test_run)
values (%s, %s, %s, %s, %s, %s) returning id, receipt
"""


@pages.get("/payments")
@only("clinician", "admin", "billing")
def index() -> ResponseReturnValue:
    """List the newest payments beside the form."""
    return _page()


def _page(problem: str | None = None) -> ResponseReturnValue:
    codes = rows("select code, description, price from billing_codes order by code")
    given = {name: field(name, 100) or request.args.get(name, "") for name in ("client", "amount", "billing_code")}
    wanted = request.args.get("of", "")[:20]
    page = render_template(
        "payments.html", payments=rows(LIST, wanted, wanted), codes=codes, methods=METHODS, given=given, problem=problem
    )
    return page, 400 if problem else 200


@pages.post("/payments")
@only("clinician", "admin", "billing")
def record() -> ResponseReturnValue:
    """Record a payment for a client, who is named by number."""
    client = one("select public.client_by_number(%s) as id", field("client", 20))
    amount = _amount(field("amount", 20))
    if client is None or client["id"] is None:
        return _page("There is no client with that number.")
    if amount is None or field("method") not in METHODS:
        return _page("Enter an amount above zero, with at most two decimals.")
    return _insert(client["id"], amount)


def _insert(client: int, amount: Decimal) -> ResponseReturnValue:
    try:
        made = one(INSERT, client, user().id, field("billing_code", 10), amount, field("method"), test_run())
    except psycopg.errors.ForeignKeyViolation:
        abort(400, "There is no such billing code.")
    except psycopg.errors.InsufficientPrivilege:
        abort(403, "You can record payments of your own clients only.")
    if made is None:
        abort(500)
    audit("payment", "payments", made["id"], "payment recorded", "critical")
    parts().metrics.payments.inc()
    log("payment recorded", payment_id=made["id"], amount=str(amount))
    flash(f"Payment recorded, receipt {made['receipt']}")
    return redirect(url_for("payments.index"))


def _amount(text: str) -> Decimal | None:
    try:
        amount = Decimal(text.replace(",", "."))
    except InvalidOperation:
        return None
    fits = amount.is_finite() and 0 < amount < 100_000 and amount == round(amount, 2)
    return amount if fits else None


@pages.post("/payments/<int:payment>/delete")
@only("clinician", "admin", "billing")
def delete(payment: int) -> ResponseReturnValue:
    """Delete a payment that is still pending; what is settled is refunded instead."""
    if one("select 1 as yes from payments where id = %s and status <> 'pending'", payment):
        abort(409, "A settled payment cannot be deleted; refund it.")
    if not changed("delete from payments where id = %s", payment):
        abort(404, "There is no such payment, or it cannot be deleted.")
    audit("delete", "payments", payment, "payment deleted", "critical")
    flash("Payment deleted")
    return redirect(url_for("payments.index"))


@pages.post("/payments/<int:payment>/refund")
@only("admin", "billing")
def refund(payment: int) -> ResponseReturnValue:
    """Refund a settled payment; it stays in the books."""
    if not changed("update payments set status = 'refunded' where id = %s and status = 'settled'", payment):
        abort(404, "There is no such settled payment.")
    audit("refund", "payments", payment, "payment refunded", "critical")
    flash("Payment refunded")
    return redirect(url_for("payments.index"))
