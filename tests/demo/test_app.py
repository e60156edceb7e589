from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from releasegate_demo.compatible import broken_pages
from releasegate_demo.web.logs import redact

CANARY = "Canary 000-12-3456, write to someone@example.net or call (202) 555-0147."


def a_client(demo: Any) -> str:
    """A client of the test clinician."""
    return str(
        demo.one("select min(id) from clients where clinician_id = %s and test_run is null", demo.id_of("clinician"))
    )


def metric(visitor: Any, name: str, **labels: str) -> float:
    total = 0.0
    for family in text_string_to_metric_families(visitor.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                total += sample.value
    return total


# the pages


def test_a_stranger_is_sent_to_the_login(visit: Any) -> None:
    for path in ("/dashboard", "/clients", "/notes", "/schedule", "/payments", "/messages", "/admin"):
        answer = visit().get(path, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/auth"), path


def test_login_shows_the_profile(visit: Any) -> None:
    page = visit("clinician").get("/dashboard").text
    assert "Dr. Maya Lindqvist" in page
    assert "clinician@example.test" in page


def test_the_session_cookie_is_closed_to_scripts_and_other_sites(demo: Any, visit: Any) -> None:
    plain = visit().get("/auth").headers["Set-Cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=Lax" in plain
    assert "Secure" not in plain
    answer = requests.get(demo.info.https_url + "/auth", verify=demo.info.ca_file, timeout=20)
    assert "Secure" in answer.headers["Set-Cookie"]
    assert answer.headers["Strict-Transport-Security"]


def test_https_is_refused_without_the_authority(demo: Any) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(demo.info.https_url + "/version", timeout=20)


def test_a_wrong_password_is_refused_counted_and_audited(demo: Any, visit: Any) -> None:
    visitor = visit()
    before = demo.one("select count(*) from audit_logs where action_type = 'login_failed'")
    counted = metric(visitor, "logins_total", result="failure")
    assert visitor.post("/auth", email="clinician@example.test", password="wrong").status_code == 401
    assert visitor.get("/dashboard", allow_redirects=False).status_code == 302
    assert demo.one("select count(*) from audit_logs where action_type = 'login_failed'") == before + 1
    assert metric(visitor, "logins_total", result="failure") == counted + 1


def test_a_form_without_its_token_is_refused(demo: Any, visit: Any) -> None:
    visitor = visit("clinician")
    answer = visitor.session.post(
        demo.info.base_url + "/notes/new", data={"client": a_client(demo), "body": "x"}, timeout=20
    )
    assert answer.status_code == 400
    assert "expired" in answer.text


def test_logout_ends_the_session(visit: Any) -> None:
    visitor = visit("clinician")
    assert "signed out" in visitor.post("/logout").text
    assert visitor.get("/dashboard", allow_redirects=False).status_code == 302


def test_a_copied_cookie_opens_nothing_after_the_logout(visit: Any) -> None:
    visitor, thief = visit("clinician"), visit()
    thief.session.cookies.update(visitor.session.cookies)
    assert thief.get("/dashboard", allow_redirects=False).status_code == 200
    visitor.post("/logout")
    assert thief.get("/dashboard", allow_redirects=False).status_code == 302


@pytest.mark.parametrize(
    ("kind", "closed"),
    [
        ("clinician", ["/admin", "/admin/audit", "/portal"]),
        ("billing", ["/clients", "/notes", "/schedule", "/messages", "/admin", "/portal"]),
        ("portal", ["/clients", "/notes", "/payments", "/dashboard", "/admin"]),
    ],
)
def test_pages_of_other_roles_are_closed(visit: Any, kind: str, closed: list[str]) -> None:
    visitor = visit(kind)
    assert {path: visitor.get(path).status_code for path in closed} == dict.fromkeys(closed, 403)


def test_a_client_is_created_found_charted_and_deleted(demo: Any, visit: Any) -> None:
    visitor = visit("clinician")
    name = f"Zed{time.time_ns() % 10**9}"
    born = {"date_of_birth": "1990-02-03", "phone": "+1 202-555-0142"}
    made = visitor.post("/clients/new", first_name="Testina", last_name=name, email="t@example.test", **born)
    assert f"Testina {name}" in made.text
    key = made.url.rsplit("/", 1)[1]
    assert demo.one("select test_run from clients where id = %s", key) == "tests"
    assert name in visitor.get("/clients", params={"q": name.lower()}).text
    assert demo.one("select count(*) from audit_logs where resource_id = %s and action_type = 'phi_access'", key) == 1
    assert "Client deleted" in visitor.post(f"/clients/{key}/delete").text
    assert visitor.get(f"/clients/{key}").status_code == 404


def test_a_client_of_another_clinician_is_not_found(demo: Any, visit: Any) -> None:
    other = demo.one("select min(id) from clients where clinician_id <> %s", demo.id_of("clinician"))
    visitor = visit("clinician")
    assert visitor.get(f"/clients/{other}").status_code == 404
    assert visitor.post("/notes/new", client=str(other), kind="progress", body="not mine").status_code == 403


def test_a_real_client_cannot_be_deleted_by_a_clinician(demo: Any, visit: Any) -> None:
    assert visit("clinician").post(f"/clients/{a_client(demo)}/delete").status_code == 404


def test_a_note_is_saved_listed_and_signed_and_stays_then(demo: Any, visit: Any) -> None:
    visitor = visit("clinician")
    body = f"Note {time.time_ns()}"
    before = metric(visitor, "notes_saved_total")
    page = visitor.post("/notes/new", client=a_client(demo), kind="progress", body=body)
    assert "Progress note saved" in page.text
    assert body in page.text
    assert metric(visitor, "notes_saved_total") == before + 1
    key = demo.one("select id from notes where body = %s", body)
    assert "Note signed" in visitor.post(f"/notes/{key}/sign").text
    refused = visitor.post(f"/notes/{key}/delete")
    assert refused.status_code == 409
    assert "A signed note cannot be deleted." in refused.text
    assert demo.one("delete from notes where body = %s returning status", body) == "signed"


def test_a_draft_is_deleted(demo: Any, visit: Any) -> None:
    visitor = visit("clinician")
    body = f"Draft {time.time_ns()}"
    visitor.post("/notes/new", client=a_client(demo), kind="progress", body=body)
    key = demo.one("select id from notes where body = %s", body)
    assert "Note deleted" in visitor.post(f"/notes/{key}/delete").text
    assert demo.one("select count(*) from notes where body = %s", body) == 0


def test_a_client_with_a_signed_note_is_discharged_instead_of_deleted(demo: Any, visit: Any) -> None:
    visitor = visit("clinician")
    name = f"Zed{time.time_ns() % 10**9}"
    visitor.post("/clients/new", first_name="Testina", last_name=name, date_of_birth="1990-02-03")
    key = demo.one("select id from clients where last_name = %s", name)
    visitor.post("/notes/new", client=str(key), kind="progress", body="seen", sign="1")
    assert visitor.post(f"/clients/{key}/delete").status_code == 409
    assert "Client discharged" in visitor.post(f"/clients/{key}/discharge").text
    assert name not in visitor.get("/clients", params={"q": name, "status": "active"}).text.replace(f'"{name}"', "")
    assert demo.one("delete from clients where id = %s returning status", key) == "discharged"


def test_an_empty_note_is_refused(demo: Any, visit: Any) -> None:
    page = visit("clinician").post("/notes/new", client=a_client(demo), kind="progress", body="  ")
    assert page.status_code == 400
    assert "Choose a client and write the note." in page.text


def test_a_free_slot_is_booked_once(demo: Any, visit: Any) -> None:
    visitor = visit("clinician")
    day = (datetime.now(UTC) + timedelta(days=60)).date().isoformat()
    page = visitor.get("/schedule", params={"day": day}).text
    assert 'aria-label="Book 09:30"' in page
    form = {
        "start": f"{day}T09:30:00+00:00",
        "client": a_client(demo),
        "minutes": "60",
        "mode": "video",
        "reason": "Test",
    }
    booked = visitor.post("/schedule/new", **form)
    assert "Appointment booked" in booked.text
    assert 'aria-label="Book 09:30"' not in booked.text
    assert 'aria-label="Book 10:00"' not in booked.text
    assert visitor.post("/schedule/new", **form).status_code == 409
    key = re.findall(r'slot taken video" data-id="(\d+)"', booked.text)[0]
    assert "Appointment deleted" in visitor.post(f"/appointments/{key}/delete").text
    assert demo.one("select count(*) from appointments where id = %s", key) == 0


def test_billing_records_a_payment_by_client_number(demo: Any, visit: Any) -> None:
    visitor = visit("billing")
    form = {"client": "C-100005", "billing_code": "S1001", "amount": "12.50", "method": "card"}
    assert "Payment recorded, receipt R-" in visitor.post("/payments", **form).text
    key = demo.one("select max(id) from payments where test_run = 'tests'")
    who = demo.one("select user_id from audit_logs where action_type = 'payment' and resource_id = %s", str(key))
    assert who == demo.id_of("billing")
    refused = visitor.post(f"/payments/{key}/delete")
    assert refused.status_code == 409
    assert "A settled payment cannot be deleted; refund it." in refused.text
    assert "Payment refunded" in visitor.post(f"/payments/{key}/refund").text
    assert visitor.post(f"/payments/{key}/refund").status_code == 404
    assert demo.one("delete from payments where id = %s returning status", key) == "refunded"


@pytest.mark.parametrize("amount", ["0", "-3", "1.005", "many", "NaN", "1e9"])
def test_an_impossible_amount_is_refused(visit: Any, amount: str) -> None:
    form = {"client": "C-100005", "billing_code": "S1001", "amount": amount, "method": "card"}
    assert visit("billing").post("/payments", **form).status_code == 400


def test_a_real_payment_cannot_be_deleted(visit: Any) -> None:
    assert visit("billing").post("/payments/1/delete").status_code == 409


def test_a_message_from_the_portal_reaches_the_clinician(demo: Any, visit: Any) -> None:
    portal, clinician = visit("portal"), visit("clinician")
    body = f"Message {time.time_ns()}"
    assert body in portal.post("/portal/messages", body=body).text
    key = demo.one("select id from messages where body = %s", body)
    client = demo.one("select client_id from messages where id = %s", key)
    assert body in clinician.get("/messages", params={"client": client}).text
    assert "Message deleted" in portal.post(f"/portal/messages/{key}/delete").text
    assert demo.one("select count(*) from messages where body = %s", body) == 0


def test_only_test_accounts_can_mark_rows(demo: Any, visit: Any) -> None:
    visitor = visit("clinician")
    visitor.session.headers["X-Test-Run"] = "no spaces allowed"
    body = f"Unmarked {time.time_ns()}"
    visitor.post("/notes/new", client=a_client(demo), kind="progress", body=body)
    assert demo.one("select count(*) from notes where body = %s and test_run is null", body) == 1
    demo.one("delete from notes where body = %s returning id", body)


def test_a_role_change_takes_effect_at_once_and_is_audited(demo: Any, visit: Any) -> None:
    admin, billing = visit("admin"), visit("billing")
    who = demo.id_of("billing")
    assert billing.get("/clients").status_code == 403
    try:
        assert "Role changed" in admin.post(f"/admin/staff/{who}/role", role="clinician").text
        assert billing.get("/clients").status_code == 200
    finally:
        admin.post(f"/admin/staff/{who}/role", role="billing")
    query = "select count(*) from audit_logs where action_type = 'role_change' and resource_id = %s"
    assert demo.one(query, str(who)) >= 2
    assert admin.post(f"/admin/staff/{demo.id_of('admin')}/role", role="billing").status_code == 400


def test_a_clinician_cannot_use_the_switches(visit: Any) -> None:
    assert visit("clinician").post("/admin/maintenance", value="on").status_code == 403


def test_maintenance_shows_a_banner_and_closes_changes(demo: Any, visit: Any) -> None:
    admin, clinician = visit("admin"), visit("clinician")
    try:
        assert "Maintenance is on" in admin.post("/admin/maintenance", value="on").text
        for path in ("/auth", "/portal/login"):
            assert 'role="status"><strong>Scheduled maintenance' in visit().get(path).text
        assert "Scheduled maintenance" in clinician.get("/clients").text
        assert clinician.post("/notes/new", client=a_client(demo), kind="progress", body="x").status_code == 503
        assert visit().login("clinician") is False
        assert visit().login("portal") is False
        assert visit().login("admin") is True
    finally:
        admin.post("/admin/maintenance", value="off")
    assert "Scheduled maintenance" not in clinician.get("/clients").text


def test_a_switched_off_feature_is_closed(visit: Any) -> None:
    admin, portal = visit("admin"), visit("portal")
    try:
        admin.post("/admin/flags/portal_messages", value="off")
        assert "switched off" in portal.get("/portal").text
        assert portal.post("/portal/messages", body="hello").status_code == 403
    finally:
        admin.post("/admin/flags/portal_messages", value="on")


def test_paused_jobs_stop_and_resumed_jobs_run(demo: Any, visit: Any) -> None:
    admin = visit("admin")
    query = "select sum(runs) from background_jobs"
    try:
        admin.post("/admin/jobs", value="on")
        paused = demo.one(query)
        demo.one("update background_jobs set last_run_at = null returning name")
        time.sleep(0.8)
        assert demo.one(query) == paused
    finally:
        admin.post("/admin/jobs", value="off")
    deadline = time.monotonic() + 10
    while demo.one(query) == paused and time.monotonic() < deadline:
        time.sleep(0.05)
    assert demo.one(query) > paused


# what machines ask


def test_health_names_every_dependency(visit: Any) -> None:
    answer = visit().get("/healthz")
    assert answer.status_code == 200
    told = answer.json()
    assert told["status"] == "ok"
    assert {name: check["ok"] for name, check in told["checks"].items()} == {
        "database": True,
        "email": True,
        "sms": True,
    }
    assert all(check["ms"] >= 0 for check in told["checks"].values())


def test_version_is_the_deployed_one(demo: Any, visit: Any) -> None:
    told = visit().get("/version").json()
    assert told == {"version": demo.info.version, "commit": demo.info.commit, "deployed_at": demo.info.deployed_at}


def test_requests_are_counted_by_route(visit: Any) -> None:
    visitor = visit()
    labels = {"method": "GET", "route": "/clients/<int:client>", "code": "302"}
    before = metric(visitor, "http_requests_total", **labels)
    visitor.get("/clients/1", allow_redirects=False)
    visitor.get("/clients/2", allow_redirects=False)
    assert metric(visitor, "http_requests_total", **labels) == before + 2
    assert metric(visitor, "http_request_duration_seconds_bucket", route="/version", le="10.0") >= 0
    assert metric(visitor, "http_requests_total", route="/metrics", code="200") > 0
    assert abs(metric(visitor, "process_start_time_seconds") - time.time()) < 600
    assert 0 < metric(visitor, "db_pool_open") <= metric(visitor, "db_pool_size")


def test_answers_carry_security_headers_and_the_request_id(demo: Any, visit: Any) -> None:
    answer = visit().get("/auth", headers={"X-Request-ID": "trace-12345678"})
    assert answer.headers["X-Request-ID"] == "trace-12345678"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    line = next(line for line in demo.log().splitlines() if "trace-12345678" in line)
    assert (
        json.loads(line).items() >= {"event": "request", "route": "/auth", "status": 200, "service": "ehr-web"}.items()
    )


def test_what_people_write_is_masked_in_the_log(demo: Any, visit: Any) -> None:
    visit("portal").post("/portal/messages", body=CANARY)
    visit("clinician").post("/notes/new", client=a_client(demo), kind="progress", body=CANARY)
    log = demo.log()
    assert log.count("Canary [ssn], write to [email] or call [phone].") >= 2
    assert "000-12-3456" not in log
    assert "@example" not in log


def test_names_in_known_fields_are_masked_in_other_text() -> None:
    shown = redact({"first_name": "Rosa", "text": "rosa called; Rosario did not", "id": 7, "key": "8f2c1d7e-5b3a-49d6"})
    assert shown == {
        "first_name": "[first_name]",
        "text": "[name] called; Rosario did not",
        "id": 7,
        "key": "8f2c1d7e-5b3a-49d6",
    }


def test_pages_that_answer_make_a_database_compatible(demo: Any) -> None:
    account = demo.info.credentials()["clinician"]
    assert broken_pages(demo.info.super_dsn, "1.4.0", account) == []
    broken = broken_pages(demo.info.super_dsn, "1.4.0", {**account, "password": "wrong"})
    assert broken[0].startswith("1.4.0 /auth: ")
