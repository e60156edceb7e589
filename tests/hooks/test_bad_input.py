"""What goes wrong around a run: it is said in sentences, and it is never green."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from pytest_releasegate.check import find
from pytest_releasegate.hooks.looking import told
from pytest_releasegate.model import Result, Status
from tests.conftest import QUICK

GATE = "id: 6.1.1, title: Release notes there, document: NOTES.md"


def test_an_empty_gates_folder(product):
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has("no gates in gates/", "nothing was executed")) == (4, True)


def test_every_mistake_is_told_at_once_and_nothing_is_executed(product):
    product.gates("predeploy", GATE, "id: 6.1.1, title: Twice, document: NOTES.md", "id: x, titel: X, htp: /healthz")
    product.write("gates/zz.yaml", "phase: deploy\n\titems: []\n")
    product.write("gates/environments.yaml", "default: nowhere\nenvironments:\n  demo: {base_ulr: x}\n")
    ran = product.pytest("-m", "predeploy")
    assert ran.code == 4
    assert ran.has(
        "gates/environments.yaml:3:10: unknown key 'base_ulr'",
        "did you mean 'base_url'?",
        "gates/predeploy.yaml:7:14: gate id '6.1.1' is given twice",
        "gates/predeploy.yaml:8:17: unknown key 'titel'",
        "gates/predeploy.yaml:8:27: unknown check 'htp'",
        "did you mean 'http'?",
        "gates/zz.yaml:2:1: not YAML",
    ), ran.out
    assert "Traceback" not in ran.out
    assert not (product.root / ".releasegate" / "record.db").exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('@pytest.mark.gate("6.9.9")\ndef test_a():\n    pass\n', '@pytest.mark.gate("6.9.9") names no `test:` gate'),
        ('@pytest.mark.gate("6.1.1")\ndef test_a():\n    pass\n', "6.1.1 is looked at by `document`"),
        ("def test_a():\n    pass\n", "gate 6.2.1: no test in smoke/test_a.py bears it"),
    ],
)
def test_marks_and_gates_are_checked_both_ways(product, body, said):
    product.gates("predeploy", GATE, "id: 6.2.1, title: A, test: smoke/test_a.py")
    product.write("smoke/test_a.py", f"import pytest\n\n{body}")
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has(said)) == (4, True), ran.out


@pytest.mark.parametrize("record", ["/proc/nowhere/record.db", "postgresql://u:hush-hush@127.0.0.1:9/x"])
def test_a_record_that_cannot_be_written(product, record):
    product.gates("predeploy", GATE)
    ran = product.pytest("-m", "predeploy", "--record", record)
    assert ran.code == 4
    assert "hush-hush" not in ran.out
    assert "Traceback" not in ran.out
    assert ran.has("nothing was executed", "record")


def test_an_unreachable_database_and_wrong_credentials_are_errors(product):
    product.write("gates/environments.yaml", 'default: d\nenvironments:\n  d: {databases: {app: "${env:APP_DSN}"}}\n')
    product.gates("predeploy", 'id: 9.1.1, title: Connected, sql: {query: "select 1", expect: 1}')
    unset = product.pytest("-m", "predeploy")
    assert (unset.code, unset.has("the environment variable APP_DSN is not set")) == (10, True)
    away = product.pytest("-m", "predeploy", APP_DSN="postgresql://me:hush-hush@127.0.0.1:9/app")
    assert away.code == 10
    assert "hush-hush" not in away.out
    assert product.statuses() == {"9.1.1": "error"}


def test_a_full_disk_is_hold_and_says_so(product):
    product.gates("predeploy", GATE, *[f"id: g{n}, title: G, document: NOTES.md" for n in range(60)])
    assert product.pytest("-m", "predeploy", "-k", "nothing").code == 10
    with sqlite3.connect(product.root / ".releasegate" / "record.db") as connection:
        pages = connection.execute("pragma page_count").fetchone()[0]
    conftest = (
        "from sqlalchemy import event\nfrom sqlalchemy.engine import Engine\n\n"
        "@event.listens_for(Engine, 'connect')\ndef limit(connection, record):\n"
        f"    connection.execute('pragma max_page_count = {pages + 4}')\n"
    )
    product.write("conftest.py", conftest)
    ran = product.pytest("-m", "predeploy")
    assert ran.code == 10, ran.out
    assert ran.has("not recorded", "full")
    assert "Traceback" not in ran.out


SMALL_DISK = """
set -e
mount -t tmpfs -o size=900k small "$1" && cp -r "$2"/. "$1" && cd "$1"
"$3" -m pytest -m predeploy -k nothing >/dev/null || true
free=$(df -k --output=avail . | tail -n 1)
head -c $(( (free - $4) * 1024 )) /dev/zero >filler
shift 4
exec "$@"
"""


@pytest.mark.skipif(
    sys.platform != "linux" or (os.geteuid() != 0 and os.environ.get("CI") != "true"),
    reason="only root can mount a small disk, on Linux",
)
@pytest.mark.parametrize("words", [[], ["-n", "2"]])
@pytest.mark.parametrize(("free", "code", "said"), [(150, 10, "not in the journal"), (4, 4, "the disk is full")])
def test_a_disk_that_is_really_full_is_never_green(product, tmp_path, free, code, said, words):
    product.gates("predeploy", GATE, *[f"id: g{n}, title: G, document: NOTES.md" for n in range(60)])
    disk = tmp_path / "disk"
    disk.mkdir()
    run = [sys.executable, "-m", "pytest", *QUICK, "-m", "predeploy", *words]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", SMALL_DISK, "sh", str(disk), str(product.root), sys.executable, str(free), *run],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_control_c_keeps_what_was_seen(product):
    product.gates("predeploy", GATE, "id: slow, title: Slow, test: smoke/test_slow.py")
    product.write(
        "smoke/test_slow.py",
        'import time\nimport pytest\n\n@pytest.mark.gate("slow")\ndef test_slow():\n    time.sleep(60)\n',
    )
    process = _started(product)
    _wait_for(product, "6.1.1")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 2, out
    assert product.statuses()["6.1.1"] == "passed"
    assert product.releasegate("status", "--exit-code").code == 10


def test_a_killed_run_loses_nothing_and_the_next_one_says_what_was_cut_off(product):
    product.gates("predeploy", GATE, "id: slow, title: Slow, test: smoke/test_slow.py")
    product.write(
        "smoke/test_slow.py",
        'import os, time\nimport pytest\n\n@pytest.mark.gate("slow")\ndef test_slow():\n'
        '    time.sleep(0 if os.environ.get("FAST") else 60)\n',
    )
    process = _started(product)
    _wait_for(product, "6.1.1")
    process.kill()
    process.communicate(timeout=30)
    ran = product.pytest("-m", "predeploy", FAST="1")
    assert ran.code == 0
    assert ran.has("was cut off", "1 of its 2 gates have no result of it: slow")
    assert product.releasegate("verify").has("intact")


def test_two_runs_at_the_same_time_both_end_in_one_record(product):
    product.gates("predeploy", *[f"id: g{n}, title: G, document: NOTES.md" for n in range(20)])
    runs = [_started(product) for _ in range(2)]
    codes = {run.wait(timeout=90) for run in runs}
    for run in runs:
        run.stdout.close()
    assert codes == {0}
    assert len(product.results()) == 40
    assert product.releasegate("verify").has("intact")


def _started(product):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "RELEASEGATE_"))
    }
    command = [sys.executable, "-m", "pytest", *QUICK, "-m", "predeploy"]
    # a shell's background jobs ignore SIGINT, and hand that down
    return subprocess.Popen(
        command,
        cwd=product.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _wait_for(product, gate):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (product.root / ".releasegate" / "record.db").exists():
            try:
                if gate in product.statuses():
                    return
            except Exception:
                pass
        time.sleep(0.1)
    raise AssertionError(f"gate {gate} was never recorded")


def test_what_a_server_says_cannot_steer_the_terminal():
    found = find("version", expected="1.4.0", actual="1.3\x1b[2J\n  1.1: passed", ok=False)
    at = datetime(2026, 1, 5, tzinfo=UTC)
    result = Result(gate="1.1", status=Status.FAILED, started_at=at, findings=(found,), message="a\x1b[1mb")
    assert told(result) == "failed: a\\x1b[1mb\n  version: expected 1.4.0, got 1.3\\x1b[2J 1.1: passed"
