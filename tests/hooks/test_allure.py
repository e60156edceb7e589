"""Gates in Allure: pytest runs over a small product, its results are read back, and Allure's report is opened."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from shutil import which
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import TimeoutError as TooLong
from playwright.sync_api import expect, sync_playwright

from pytest_releasegate.model import Attestation, Status, Waiver
from pytest_releasegate.store import open_store
from tests.npm import installed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

ALLURE = "3.18.0"
SECRET = "s3cr3t-token-of-the-test"
SCOPE = "deploy or predeploy"

GATES = {
    "gates/01-before.yaml": """
phase: predeploy
items:
  - item: "6.1"
    title: Release notes prepared
    topics: [notes]
    gates:
      - {id: 6.1.1, title: User-facing changes documented, document: NOTES.md, severity: medium, owner: docs}
      - {id: 6.3.4, title: Access controls reviewed, attest: {role: security_lead}}
      - {id: 6.3.5, title: Backups restored, attest: {role: operator}}
      - {id: 6.3.6, title: Old browsers, attest: {role: product_owner}, severity: low}
      - {id: 6.3.7, title: Maintenance announced, document: NOTES.md, when: maintenance}
""",
    "gates/policy.yaml": "waive: [{roles: [product_owner]}]\n",
    "gates/stakeholders.yaml": """
roles:
  security_lead: {people: [ann@example.com]}
  operator: {people: [ann@example.com]}
  product_owner: {people: [ann@example.com]}
""",
    "gates/02-deploy.yaml": """
phase: deploy
step: after
items:
  - item: "10.1"
    title: Health
    severity: critical
    gates:
      - {id: 10.1.1, title: Health endpoint responding, http: /healthz}
      - {id: 10.1.2, title: No debug page, http: {url: /debug, status: 404}}
      - {id: 10.1.3, title: Search answers, http: "http://127.0.0.1:CLOSED/"}
  - item: "10.2"
    title: Smoke
    topics: [smoke, login]
    gates:
      - {id: 10.2.1, title: Login, test: smoke/test_login.py}
      - {id: 10.2.2, title: Print, test: smoke/test_print.py}
""",
    "gates/environments.yaml": """
default: demo
product: ehr
environments:
  demo: {base_url: "http://127.0.0.1:OPEN/"}
  spare: {base_url: "http://127.0.0.1:OPEN/"}
""",
    "smoke/test_login.py": """
import os
import pytest

@pytest.mark.gate("10.2.1")
@pytest.mark.parametrize("who", ["nurse", "admin"])
def test_login(who, finding, gate_context):
    finding("console errors", expected=0, actual=0, ok=True)
    gate_context.attach("page.html", "text/html", b"<h1>Welcome</h1>")
    if who == "admin" and os.environ.get("CRASH"):
        os._exit(1)
""",
    "smoke/test_print.py": """
import os
import pytest

@pytest.mark.gate("10.2.2")
def test_print(gate_context):
    token = gate_context.resolve("${env:TOKEN}")
    print("with", token)
    gate_context.attach("printer.txt", "text/plain", token.encode())
    if os.environ.get("LEAK"):
        import allure
        allure.attach(token, "own.txt", allure.attachment_type.TEXT)
        raise AssertionError(f"refused {token}")
    pytest.skip("no printer here")
""",
    "smoke/test_ordinary.py": "def test_ordinary():\n    assert True\n",
    "NOTES.md": "# Notes\nPatients can be merged.\n",
    "pytest.ini": "[pytest]\n",
}


class Product:
    """A scratch product, pytest run over it, and what Allure would read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.out = root / "allure-results"
        self.output = ""

    def run(self, *arguments: str, expression: str = SCOPE, **variables: str) -> int:
        """Run pytest with Allure's results going into `out`, and give its exit code."""
        command = ["-m", "pytest", *(["-m", expression] if expression else []), "--release", "1.4.0"]
        return self.python(*command, "--fact", "maintenance=false", "-p", "no:cacheprovider", *arguments, **variables)

    def python(self, *arguments: str, **variables: str) -> int:
        """Run Python in the product's folder, without what a surrounding pytest has set."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "RELEASEGATE_"))}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env={**kept, "TOKEN": SECRET, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.output = done.stdout + done.stderr
        return done.returncode

    def look(self, *arguments: str, **variables: str) -> dict[str, dict[str, Any]]:
        """Run over the whole scope, and give Allure's results by their titles."""
        assert self.run("--alluredir", self.out.name, *arguments, **variables) in {1, 10}, self.output
        return self.results()

    def results(self) -> dict[str, dict[str, Any]]:
        """Allure's results by their titles; each title once."""
        read = [json.loads(path.read_text("utf-8")) for path in self.out.glob("*-result.json")]
        found = {result["name"]: result for result in read}
        assert len(found) == len(read), sorted(result["name"] for result in read)
        return found

    def say(self, gate: str, status: Status, note: str = "") -> None:
        """Open the release, and put a person's word on a gate into the record."""
        options = ["--release", "1.4.0", "--fact", "maintenance=false"]
        assert self.python("-m", "pytest_releasegate.cli", "open", *options) == 0, self.output
        with open_store(f"sqlite:///{self.root}/.releasegate/record.db") as store:
            release = store.find_release("ehr", "1.4.0", "demo")
            assert release is not None
            planned = store.plan(release.id).by_id()[gate]
            word = Attestation(
                gate=gate,
                status=status,
                person="ann@example.com",
                role=str(planned.gate.parameters["role"]),
                at=datetime.now(UTC),
                note=note,
                gate_digest=planned.digest,
            )
            store.add_claim(release.id, word)

    def waive(self, gate: str) -> None:
        """Put a waiver of a gate that failed into the record."""
        with open_store(f"sqlite:///{self.root}/.releasegate/record.db") as store:
            release = store.find_release("ehr", "1.4.0", "demo")
            assert release is not None
            now = datetime.now(UTC)
            waiver = Waiver(
                gate=gate,
                reason="few use one",
                person="ann@example.com",
                role="product_owner",
                at=now,
                expires_at=now + timedelta(days=7),
                gate_digest=store.plan(release.id).by_id()[gate].digest,
            )
            store.add_claim(release.id, waiver)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer 200 with a little JSON, whatever is asked for."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"status": "ok"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    with socket.socket() as closed, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it, and it refuses
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        for name, text in GATES.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            ports = text.replace("OPEN", str(server.server_port)).replace("CLOSED", str(closed.getsockname()[1]))
            path.write_text(ports, "utf-8")
        yield Product(tmp_path)
        server.shutdown()


TITLES = {
    "6.1.1 User-facing changes documented",
    "6.3.4 Access controls reviewed",
    "6.3.5 Backups restored",
    "6.3.6 Old browsers",
    "6.3.7 Maintenance announced",
    "10.1.1 Health endpoint responding",
    "10.1.2 No debug page",
    "10.1.3 Search answers",
    "10.2.1 Login: test_login[nurse]",
    "10.2.1 Login: test_login[admin]",
    "10.2.2 Print",
}


def labels(result: dict[str, Any], name: str) -> list[str]:
    return sorted(label["value"] for label in result["labels"] if label["name"] == name)


def message(result: dict[str, Any]) -> str:
    return str(result.get("statusDetails", {}).get("message", ""))


def steps(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["name"], step["status"]) for step in result.get("steps", [])]


def attachments(product: Product, result: dict[str, Any]) -> dict[str, tuple[str, bytes]]:
    files = result.get("attachments", [])
    return {file["name"]: (file["type"], (product.out / file["source"]).read_bytes()) for file in files}


def test_each_gate_bears_its_place_in_the_checklist(product: Product) -> None:
    found = product.look()
    assert found.keys() == TITLES
    health, notes = found["10.1.1 Health endpoint responding"], found["6.1.1 User-facing changes documented"]
    assert labels(health, "epic") == ["ehr"]
    assert labels(health, "feature") == ["deploy: after"]
    assert labels(notes, "feature") == ["predeploy"]
    assert labels(health, "story") == labels(health, "subSuite") == ["10.1 Health"]
    assert labels(health, "parentSuite") == ["ehr 1.4.0/demo"]
    assert labels(health, "suite") == ["2 deploy"]
    assert labels(notes, "owner") == ["docs"]
    severities = [labels(found[title], "severity") for title in sorted(TITLES) if title.startswith(("6.1.1", "6.3"))]
    assert severities == [["normal"], ["critical"], ["critical"], ["minor"], ["critical"]]
    assert labels(health, "severity") == ["blocker"]
    assert labels(health, "tag") == []
    assert labels(found["10.2.1 Login: test_login[admin]"], "tag") == ["login", "smoke"]
    values = {row["name"]: (row["value"], row.get("excluded", False)) for row in health["parameters"]}
    assert values == {"environment": ("demo", False), "release": ("1.4.0", True)}
    line = next(at for at, text in enumerate(GATES["gates/02-deploy.yaml"].splitlines(), 1) if "10.1.1" in text)
    assert f"`gates/02-deploy.yaml:{line}`" in health["description"]
    assert '"url": "/healthz"' in health["description"]


def test_statuses_say_what_was_found(product: Product) -> None:
    product.say("6.3.5", Status.PASSED, "restored in 40 min")
    product.say("6.3.6", Status.FAILED)
    product.waive("6.3.6")
    found = product.look()
    said = {title.split()[0]: (result["status"], message(result).splitlines()[:1]) for title, result in found.items()}
    assert said["6.1.1"] == said["10.1.1"] == ("passed", [])
    assert said["10.1.2"] == ("failed", ["failed"])
    assert said["10.1.3"][0] == "broken"
    assert said["10.1.3"][1][0].startswith("error: http://127.0.0.1:")
    assert said["10.2.2"] == ("broken", ["inconclusive: skipped: no printer here"])
    assert said["6.3.7"] == ("skipped", ["not applicable: not `maintenance`"])
    assert said["6.3.4"][0] == "skipped"
    assert said["6.3.4"][1][0].startswith("pending: security_lead must say")
    assert said["6.3.5"][0] == "passed"
    assert said["6.3.5"][1][0].startswith("attested: ann@example.com (operator)")
    assert steps(found["6.3.5 Backups restored"])[0][0].endswith(": restored in 40 min")
    assert said["6.3.6"][0] == "skipped"
    assert said["6.3.6"][1][0].startswith("waived: ann@example.com")
    assert labels(found["6.3.6 Old browsers"], "tag") == ["notes", "waived"]


def test_findings_are_steps_and_evidence_is_attached(product: Product) -> None:
    found = product.look()
    debug = dict(steps(found["10.1.2 No debug page"]))
    assert debug["answers looked at: expected >= 1, got 1"] == "passed"
    assert debug["status: expected 404, got 200 OK"] == "failed"
    notes = attachments(product, found["6.1.1 User-facing changes documented"])
    assert notes["NOTES.md"] == ("text/markdown", GATES["NOTES.md"].encode())
    login = found["10.2.1 Login: test_login[admin]"]
    assert ("console errors: expected 0, got 0", "passed") in steps(login)
    assert attachments(product, login)["page.html"] == ("text/html", b"<h1>Welcome</h1>")


def test_files_beside_the_results(product: Product) -> None:
    product.out.mkdir()
    (product.out / "categories.json").write_text('[{"name": "Ours"}, {"name": "Inconclusive"}]')
    code = product.run("--alluredir", product.out.name)
    environment = (product.out / "environment.properties").read_text("utf-8").splitlines()
    assert {"Product=ehr", "Release=1.4.0/demo", "Environment=demo", "Decision=NO-GO"} <= set(environment)
    assert any(line.startswith("Base\\ URL=http\\://127.0.0.1\\:") for line in environment), environment
    assert code == 1
    executor = json.loads((product.out / "executor.json").read_text("utf-8"))
    assert executor["buildName"] == "ehr 1.4.0/demo run 1"
    names = [row["name"] for row in json.loads((product.out / "categories.json").read_text("utf-8"))]
    assert names == ["Failed gates", "Could not look", "Inconclusive", "Waiting for a person", "Ours"]


def test_workers_write_the_same_and_clean_once(product: Product) -> None:
    alone = product.look()
    environments = {title: result["historyId"] for title, result in alone.items()}
    spread = product.look("-n", "2", "--clean-alluredir", "--env", "spare")
    assert spread.keys() == alone.keys()
    for title, result in spread.items():
        assert (result["status"], steps(result)) == (alone[title]["status"], steps(alone[title])), title
        assert result["testCaseId"] == alone[title]["testCaseId"]
        assert result["historyId"] != environments[title], "environments would hide one another as retries"
    assert len({result["testCaseId"] for result in spread.values()}) == len(TITLES)
    assert "Environment=spare" in (product.out / "environment.properties").read_text("utf-8").splitlines()


def test_a_crash_hides_no_gate(product: Product) -> None:
    found = product.look("-n", "2", "--clean-alluredir", CRASH="1")
    assert found.keys() == TITLES, product.output
    lost = found["10.2.1 Login: test_login[admin]"]
    assert (lost["status"], message(lost)) == ("broken", "missing: the worker crashed while looking")
    assert labels(lost, "feature") == ["deploy: after"]
    assert found["10.1.1 Health endpoint responding"]["status"] == "passed"
    assert [title for title, result in found.items() if "not looked at in this run" in message(result)] == []
    alone = product.look("--clean-alluredir")
    assert alone["10.2.1 Login: test_login[admin]"]["historyId"] == lost["historyId"]


def test_what_never_ran_is_missing_or_as_the_record_has_it(product: Product) -> None:
    product.run("-k", "6.1.1")
    found = product.look("-k", "10.1.1")
    assert found.keys() == TITLES
    assert found["10.1.1 Health endpoint responding"]["status"] == "passed"
    earlier = found["6.1.1 User-facing changes documented"]
    assert (earlier["status"], "NOTES.md" in attachments(product, earlier)) == ("passed", True)
    assert message(earlier).splitlines()[1].startswith("not looked at in this run; the record's word is of ")
    for title in ("10.1.2 No debug page", "10.2.1 Login: test_login[nurse]", "10.2.2 Print"):
        assert (found[title]["status"], message(found[title])) == ("broken", "missing: not looked at"), title
    assert found["6.3.4 Access controls reviewed"]["status"] == "skipped"


def test_a_rehearsal_by_path_shows_what_it_collected(product: Product) -> None:
    product.run("--alluredir", product.out.name, "smoke", "-n", "2", expression="", CRASH="1")
    found = product.results()
    assert found["10.2.1 Login: test_login[nurse]"]["status"] == "passed"
    assert message(found["10.2.1 Login: test_login[admin]"]) == "missing: not looked at"
    assert found["test_ordinary"]["status"] == "passed"
    assert "10.1.1 Health endpoint responding" not in found


@pytest.mark.parametrize("workers", ["0", "2"])
def test_secrets_are_struck_out_of_every_file(product: Product, workers: str) -> None:
    found = product.look("-n", workers, LEAK="1")
    leaked = found["10.2.2 Print"]
    assert (leaked["status"], steps(leaked)) == (
        "failed",
        [("the test: expected passes, got refused ${env:TOKEN}", "failed")],
    )
    files = attachments(product, leaked)
    assert files["printer.txt"] == ("text/plain", b"${env:TOKEN}")
    assert files["own.txt"] == ("text/plain", b"${env:TOKEN}")
    assert files["stdout"] == ("text/plain", b"with ${env:TOKEN}\n")
    assert "refused ${env:TOKEN}" in leaked["statusDetails"]["trace"]
    holding = [path.name for path in product.out.iterdir() if SECRET.encode() in path.read_bytes()]
    assert holding == []


@pytest.mark.parametrize("arguments", [("-p", "no:allure_pytest"), ()])
def test_without_allure_nothing_is_imported(product: Product, arguments: tuple[str, ...]) -> None:
    conftest = """
import sys
def pytest_sessionfinish():
    print("imported:", sorted(name for name in sys.modules if name in {"allure_commons", "allure_pytest", OURS}))
"""
    ours = "pytest_releasegate.hooks.allure"
    (product.root / "conftest.py").write_text(conftest.replace("OURS", repr(ours)))
    product.run("-s", *arguments)
    present = [line for line in product.output.splitlines() if "imported:" in line][-1]
    assert ours not in present
    assert ("allure_commons" in present) is (arguments == ())


@pytest.fixture(scope="session")
def allure() -> Path:
    """Allure's own report generator."""
    return installed("allure", ALLURE)


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Page]:
    """A page of a Chromium that reaches no network."""
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := which(name))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found or playwright.chromium.executable_path)
        context = browser.new_context(viewport={"width": 1400, "height": 1200}, locale="en-US")
        context.route("http*://**", lambda route: route.abort())
        page = context.new_page()
        yield page
        page.screenshot(path=tmp_path / "allure.png")
        browser.close()


def shown(tab: Page, page: Path) -> None:
    """Open the report; on a busy machine Allure's single file can wait for its own data for ever, until loaded anew."""
    for wait in (10_000, 20_000, 40_000):
        tab.goto("about:blank")
        tab.goto(page.as_uri())
        with suppress(TooLong):
            return tab.get_by_text("10.1.3 Search answers").first.wait_for(timeout=wait)
    raise AssertionError("Allure's page shows no gate")


def test_the_report_shows_gate_finding_and_attachment(product: Product, allure: Path, tab: Page) -> None:
    product.look()
    report = product.root / "report"
    command = [str(allure), "awesome", product.out.name, "--single-file", "-o", str(report)]
    subprocess.run(command, cwd=product.root, check=True, capture_output=True, timeout=120)
    shown(tab, report / "index.html")
    for title in ("1.4.0/demo", "2 deploy", "10.1 Health", "10.2 Smoke", "10.1.3 Search answers"):
        expect(tab.get_by_text(title).first).to_be_visible()
    tab.get_by_text("10.1.2 No debug page").click()
    expect(tab.get_by_text("status: expected 404, got 200 OK").first).to_be_visible()
    expect(tab.get_by_text("gates/02-deploy.yaml").first).to_be_visible()
    shown(tab, report / "index.html")
    tab.get_by_text("10.2.2 Print").click()
    expect(tab.get_by_text("inconclusive: skipped: no printer here").first).to_be_visible()
    expect(tab.get_by_text("printer.txt").first).to_be_visible()
    expect(tab.get_by_text(SECRET)).to_have_count(0)
