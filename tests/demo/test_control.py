from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import requests
from releasegate_demo import control, population
from releasegate_demo.control import BREAKS, DemoError
from releasegate_demo.place import Place, read_json

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "Canary 000-98-7654 of leak@example.net"


def is_gone(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return not done.stdout.strip() or done.stdout.startswith("Z")


def wait_until(look: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if look():
            return True
        time.sleep(0.02)
    return False


def test_up_is_idempotent_and_tells_everything(demo: Any) -> None:
    assert control.up(demo.state) == demo.info
    assert control.status(demo.state) == demo.info
    assert not any(is_gone(pid) for pid in demo.info.pids.values())
    assert set(demo.info.pids) == {"supervisor", "web", "postgres"}


def test_secrets_are_private_and_not_in_repr(demo: Any) -> None:
    place = Place(demo.state)
    for path in (place.info, place.settings, place.credentials, place.backup_key, demo.state / "server.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert "postgresql://" not in repr(demo.info)
    assert demo.info.control_key not in repr(demo.info)


def test_the_environment_is_complete(demo: Any) -> None:
    told = demo.info.environment()
    names = {"URL", "HTTPS_URL", "CA", "DSN", "OWNER_DSN", "LOG", "MIGRATION_LOG", "BACKFILL_LOG"}
    names |= {"BACKUPS", "UNLOCK", "WAL", "VENDORS", "VENDOR_KEY"}
    for kind in ("CLINICIAN", "ADMIN", "BILLING", "PORTAL"):
        names |= {f"{kind}_EMAIL", f"{kind}_PASSWORD"}
    assert set(told) == {f"RELEASEGATE_DEMO_{name}" for name in names}
    assert all(told.values())
    assert demo.one("select current_user", dsn=told["RELEASEGATE_DEMO_DSN"]) == "releasegate_probe"
    assert demo.one("select current_user", dsn=told["RELEASEGATE_DEMO_OWNER_DSN"]) == "app_owner"


def test_the_seed_has_its_size_and_no_orphans(demo: Any) -> None:
    for table in ("clients", "notes", "appointments", "payments", "messages"):
        wanted = getattr(population, table.upper())
        assert demo.one(f"select count(*) from {table} where test_run is null and id <= {wanted}") == wanted
    assert demo.one("select count(*) from notes n left join clients c on c.id = n.client_id where c.id is null") == 0
    assert demo.one("select count(*) from notes where created_at > now()") == 0
    assert demo.one("select count(*) from pg_trigger where not tgisinternal and tgenabled <> 'O'") == 0


def test_every_table_has_row_level_security(demo: Any) -> None:
    query = "select count(*) from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and {}"
    assert demo.one(query.format("relrowsecurity")) >= 13
    assert demo.one(query.format("not relrowsecurity")) == 0


def test_deploy_changes_the_version_and_keeps_address_and_sessions(demo: Any, visit: Any) -> None:
    visitor = visit("clinician")
    try:
        info = control.deploy(demo.state, "1.4.0", "c0ffee")
        assert (info.base_url, info.https_url) == (demo.info.base_url, demo.info.https_url)
        assert info.pids["web"] != demo.info.pids["web"]
        assert visitor.get("/version").json()["version"] == "1.4.0"
        assert visitor.get("/version").json()["commit"] == "c0ffee"
        assert visitor.get("/dashboard", allow_redirects=False).status_code == 200
        assert control.status(demo.state) == info
    finally:
        object.__setattr__(demo, "info", control.deploy(demo.state, demo.info.version, demo.info.commit))


def test_who_asks_during_a_deployment_does_not_bring_the_old_release_back(demo: Any, visit: Any) -> None:
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            control.status(demo.state)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        control.deploy(demo.state, "1.4.0", "c0ffee")
    finally:
        over.set()
        for asker in askers:
            asker.join()
        seen = visit().get("/version").json()["version"]
        object.__setattr__(demo, "info", control.deploy(demo.state, demo.info.version, demo.info.commit))
    assert seen == "1.4.0"


def test_traffic_ends_when_it_is_over(demo: Any) -> None:
    over = threading.Event()
    threading.Timer(0.3, over.set).start()
    seen = control.traffic(demo.state, seconds=30.0, rps=10, visitors=2, over=over)
    assert 0 < seen.requests < 20


def test_migrations_go_up_down_and_up_again(demo: Any, visit: Any) -> None:
    visitor = visit("clinician")
    client = demo.one("select min(id) from clients where clinician_id = %s", demo.id_of("clinician"))
    codes = demo.one("select count(*) from billing_codes")
    assert control.pending(demo.state) == ["003"]
    assert "Care plans" not in visitor.get(f"/clients/{client}").text
    try:
        assert control.migrate(demo.state) == ["003"]
        assert control.pending(demo.state) == []
        assert control.migrate(demo.state) == []
        assert demo.one("select count(*) from billing_codes") == codes + 120
        assert demo.one("select checksum ~ '^[0-9a-f]{64}$' from schema_migrations where version = '003'")
        assert "Care plans" in visitor.get(f"/clients/{client}").text
        page = visitor.post(f"/clients/{client}/care-plans", goal="Sleep through", review_on="2031-05-06")
        assert "Care plan added" in page.text
        assert demo.count_as("billing", "select count(*) from care_plans") == 0
    finally:
        assert control.migrate(demo.state, "down") == ["003"]
    assert demo.one("select to_regclass('public.care_plans')") is None
    assert demo.one("select count(*) from billing_codes") == codes
    assert visitor.get(f"/clients/{client}").status_code == 200
    lines = [json.loads(line) for line in Path(demo.info.migration_log).read_text().splitlines()]
    moves = [(line["event"], line["version"], line["direction"]) for line in lines]
    assert moves[-2:] == [("migration started", "003", "down"), ("migration finished", "003", "down")]
    assert ("migration finished", "003", "up") in moves


def test_a_backfill_goes_in_batches_and_is_written_down(demo: Any) -> None:
    control.migrate(demo.state)
    try:
        assert control.backfill(demo.state) == demo.one(
            "select count(*) from clients where preferred_name = first_name"
        )
        assert demo.one("select max(rows) from ops.backfill_batches") == 200
        assert control.backfill(demo.state) == 0
    finally:
        control.migrate(demo.state, "down")
        with psycopg.connect(demo.info.owner_dsn) as connection:
            connection.execute("drop schema ops cascade")
    lines = [json.loads(line) for line in Path(demo.info.backfill_log).read_text().splitlines()]
    assert [line["event"] for line in lines][-2:] == ["backfill started", "backfill finished"]
    assert lines[-3]["rows_total"] == sum(line["rows"] for line in lines if line["event"] == "batch finished")


def test_a_failed_migration_is_rolled_back_and_logged(demo: Any) -> None:
    with psycopg.connect(demo.info.owner_dsn) as connection:
        connection.execute("create table public.care_plans (in_the_way int)")
    try:
        with pytest.raises(psycopg.errors.DuplicateTable):
            control.migrate(demo.state)
        assert control.pending(demo.state) == ["003"]
        column = "select count(*) from pg_attribute where attrelid = 'clients'::regclass and attname = 'preferred_name'"
        assert demo.one(column) == 0
        last = json.loads(Path(demo.info.migration_log).read_text().splitlines()[-1])
        assert (last["event"], last["level"]) == ("migration failed", "error")
        assert "care_plans" in last["error"]
    finally:
        with psycopg.connect(demo.info.owner_dsn) as connection:
            connection.execute("drop table public.care_plans")


def test_unknown_names_are_refused(demo: Any) -> None:
    with pytest.raises(DemoError, match="expected one of errors, latency"):
        control.make_break(demo.state, "nonsense")
    with pytest.raises(ValueError, match="expected 'up' or 'down'"):
        control.migrate(demo.state, "sideways")
    with pytest.raises(ValueError, match="to: expected one of"):
        control.migrate(demo.state, to="999")


def test_traffic_leaves_samples(demo: Any, visit: Any) -> None:
    seen = control.traffic(demo.state, seconds=1.0, rps=20, visitors=2)
    assert seen.requests == 20
    assert seen.failures == 0
    assert 'route="/clients"' in visit().get("/metrics").text


def test_traffic_counts_failures(demo: Any) -> None:
    control.make_break(demo.state, "login")
    assert control.traffic(demo.state, seconds=0.5, rps=10, visitors=1).failures >= 4


# each break shows, and healing takes it away


def _codes(demo: Any, visit: Any) -> bool:
    visitor = visit()
    codes = [visitor.get("/auth").status_code for _ in range(10)]
    assert set(codes) <= {200, 500}
    return codes.count(500) == 2


def _is_slow(demo: Any, visit: Any) -> bool:
    visitor, start = visit(), time.monotonic()
    visitor.get("/auth")
    slow = time.monotonic() - start > 1.4
    start = time.monotonic()
    visitor.get("/version")
    assert time.monotonic() - start < 1.4
    return slow


def _sees_all(demo: Any, visit: Any) -> bool:
    changes = """with changed as (update clients set phone = 'x' where clinician_id <> auth.uid() returning 1)
                 select count(*) from changed"""
    read = demo.count_as("clinician", "select count(*) from clients where clinician_id <> auth.uid()") > 0
    assert (demo.count_as("clinician", changes) > 0) == read
    return bool(read)


def _has_orphan(demo: Any, visit: Any) -> bool:
    query = "select count(*) from notes n where not exists (select from clients c where c.id = n.client_id)"
    assert demo.one("select convalidated from pg_constraint where conname = 'notes_client_id_fkey'") is True
    return bool(demo.one(query))


def _has_invalid_index(demo: Any, visit: Any) -> bool:
    return bool(demo.one("select count(*) from pg_index where not indisvalid"))


def _is_unhealthy(demo: Any, visit: Any) -> bool:
    answer = visit().get("/healthz")
    told = answer.json()
    assert (answer.status_code, told["status"]) in ((200, "ok"), (503, "degraded"))
    assert told["checks"]["database"]["ok"] is True
    assert told["checks"]["sms"]["ok"] == (answer.status_code == 200)
    return bool(answer.status_code == 503)


def _leaks(demo: Any, visit: Any) -> bool:
    before = len(demo.log())
    visit("portal").post("/portal/messages", body=CANARY)
    added = demo.log()[before:]
    assert "message sent" in added
    return "000-98-7654" in added and "leak@example.net" in added


def _loses_notes(demo: Any, visit: Any) -> bool:
    body = f"Kept? {time.time_ns()}"
    client = demo.one("select min(id) from clients where clinician_id = %s", demo.id_of("clinician"))
    page = visit("clinician").post("/notes/new", client=str(client), kind="progress", body=body)
    assert "Progress note saved" in page.text
    return body not in page.text and demo.one("select count(*) from notes where body = %s", body) == 0


def _locks_staff_out(demo: Any, visit: Any) -> bool:
    assert visit().login("portal") is True
    return not visit().login("clinician")


def _lacks_appointments(demo: Any, visit: Any) -> bool:
    count = demo.one("select count(*) from appointments where test_run is null")
    assert count in (population.APPOINTMENTS, population.APPOINTMENTS - 300)
    return bool(count < population.APPOINTMENTS)


def _lacks_record(demo: Any, visit: Any) -> bool:
    known = demo.one("select count(*) from schema_migrations")
    index = demo.one("select to_regclass('public.audit_logs_created_at_idx')::text")
    assert (known, index) in ((2, "audit_logs_created_at_idx"), (1, None))
    return bool(known == 1)


def _pages_people(demo: Any, visit: Any) -> bool:
    assert visit().get("/healthz").status_code == 200
    url = demo.info.vendors_url
    page = requests.get(f"{url}/status/resend/api/v2/summary.json", timeout=20).json()
    headers = {"Authorization": f"Token token={demo.info.vendor_key}"}
    paged = requests.get(f"{url}/pagerduty/incidents", headers=headers, timeout=20).json()["incidents"]
    broken = page["status"]["indicator"] == "major"
    assert bool(paged) is broken
    return broken


def _is_unguarded(demo: Any, visit: Any) -> bool:
    answer = requests.get(f"{demo.info.https_url}/auth", verify=demo.info.ca_file, timeout=20)
    unbound = "Strict-Transport-Security" not in answer.headers
    assert ("HttpOnly" not in answer.headers["Set-Cookie"]) is unbound
    return unbound


SHOWS: dict[str, Callable[[Any, Any], bool]] = {
    "errors": _codes,
    "latency": _is_slow,
    "rls": _sees_all,
    "orphan": _has_orphan,
    "index": _has_invalid_index,
    "health": _is_unhealthy,
    "mail": _pages_people,
    "log": _leaks,
    "guards": _is_unguarded,
    "flow": _loses_notes,
    "login": _locks_staff_out,
    "counts": _lacks_appointments,
    "migration": _lacks_record,
}
# everything that a break in the database may touch
SCHEMA = """
select md5(string_agg(line, e'\n' order by line)) from (
  select format('%s %s %s %s %s', tablename, policyname, cmd, qual, with_check) as line from pg_policies
  union all select format('%s %s', c.conname, pg_get_constraintdef(c.oid)) from pg_constraint c
  union all select format('%s %s', i.indisvalid, pg_get_indexdef(i.indexrelid)) from pg_index i
  union all select to_jsonb(m)::text from schema_migrations m
  union all select 'appointment ' || a::text from appointments a where test_run is null) everything
"""


def test_every_break_has_a_test() -> None:
    assert SHOWS.keys() == BREAKS.keys()
    assert all(one.title and one.notice for one in BREAKS.values())


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_shows_and_healing_takes_it_away(demo: Any, visit: Any, name: str) -> None:
    before = demo.one(SCHEMA)
    assert SHOWS[name](demo, visit) is False
    control.make_break(demo.state, name)
    control.make_break(demo.state, name)
    assert control.active_breaks(demo.state) == [name]
    assert SHOWS[name](demo, visit) is True
    assert control.heal(demo.state) == [name]
    assert control.heal(demo.state) == []
    assert SHOWS[name](demo, visit) is False
    assert demo.one(SCHEMA) == before


def test_the_migration_break_takes_the_newest(demo: Any) -> None:
    control.migrate(demo.state)
    try:
        control.make_break(demo.state, "migration")
        assert control.pending(demo.state) == ["003"]
        with pytest.raises(psycopg.errors.DuplicateColumn):
            control.migrate(demo.state)
        control.heal(demo.state, "migration")
        assert control.pending(demo.state) == []
        assert demo.one("select to_regclass('public.clients_preferred_name_idx')::text") is not None
    finally:
        control.heal(demo.state)
        control.migrate(demo.state, "down")


# starting and ending; a demo of its own


def test_a_killed_supervisor_leaves_nothing_and_up_recovers(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = control.up(state, version="0.9.0", commit="abc")
    assert first.version == "0.9.0"
    try:
        os.kill(first.pids["supervisor"], signal.SIGKILL)
        assert wait_until(lambda: all(is_gone(pid) for pid in first.pids.values()))
        assert control.status(state) is None
        with pytest.raises(DemoError, match="no demo is up here"):
            control.deploy(state)
        second = control.up(state)
        assert second.pids["supervisor"] != first.pids["supervisor"]
        assert second.credentials() != {}
    finally:
        control.down(state)
    assert wait_until(lambda: all(is_gone(pid) for pid in second.pids.values()), 2)
    assert not state.exists()
    control.down(state)


def test_a_web_process_that_died_comes_back(demo: Any, visit: Any) -> None:
    old = control.up(demo.state).pids["web"]
    os.kill(old, signal.SIGKILL)
    assert wait_until(lambda: control.up(demo.state).pids["web"] != old)
    info = control.up(demo.state)
    assert visit().get("/healthz").status_code == 200
    object.__setattr__(demo, "info", info)


def test_down_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "mine.txt").write_text("mine")
    (state / "demo.json").write_text("{}")
    Place(state).remove()
    assert [path.name for path in state.iterdir()] == ["mine.txt"]
    assert read_json(state / "demo.json") is None


def test_a_demo_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELEASEGATE_PG_BIN", str(tmp_path / "nothing"))
    with pytest.raises(DemoError, match="expected a folder with postgres and initdb"):
        control.up(tmp_path / "state")
    assert control.status(tmp_path / "state") is None
