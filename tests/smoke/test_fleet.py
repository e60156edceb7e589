"""The same flows in two targets: real browsers, spread over workers, each at the base URL of its own target."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.smoke.conftest import Scratch

FLOWS = """
import pytest

@pytest.mark.gate("front")
def test_front(page, flow):
    with flow.step("Load the front page"):
        page.goto("/")
        region = flow.context.environment.values["region"]
        assert page.get_by_role("heading").inner_text() == f"Welcome to {region}"

@pytest.mark.gate("name")
def test_name(page, flow):
    staff = flow.account("staff")
    with flow.step("Say who it is"):
        page.goto(f"/#{staff.email}")
        assert page.get_by_role("paragraph").inner_text() == staff.email
"""
PAGE = """<link rel="icon" href="data:,"><h1>Welcome to {region}</h1><p></p>
<script>document.querySelector("p").textContent = location.hash.slice(1); {script}</script>"""
NAMES = ("prod-eu", "prod-us")


class Site(ThreadingHTTPServer):
    """One of the targets; the American one complains."""

    def __init__(self, region: str) -> None:
        super().__init__(("127.0.0.1", 0), Front)
        self.page = PAGE.format(region=region, script="console.error('no chart')" if region == "us" else "")


class Front(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Site)
        body = self.server.page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def scratch(tmp_path: Path, make_scratch: type[Scratch]) -> Iterator[Scratch]:
    (tmp_path / "ehr" / "smoke").mkdir(parents=True)
    (tmp_path / "ehr" / "smoke" / "test_flows.py").write_text(FLOWS)
    made = make_scratch(tmp_path / "ehr", {})
    made.prepare("")
    lines, sites = ["environments:"], {name: Site(name[5:]) for name in NAMES}
    for name, site in sites.items():
        threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True).start()
        url, region = f"http://127.0.0.1:{site.server_port}", name[5:]
        lines.append(f'  {name}: {{base_url: "{url}", values: {{region: {region}}}}}')
        account = f"RELEASEGATE_PROD_{region.upper()}_STAFF"
        made.variables |= {f"{account}_EMAIL": f"{region}@example.test", f"{account}_PASSWORD": f"{region}-password"}
    (made.root / "gates" / "environments.yaml").write_text("\n".join([*lines, ""]))
    yield made
    for site in sites.values():
        site.shutdown()
        site.server_close()


def test_flows_walk_through_each_target_by_its_own_account(scratch: Scratch) -> None:
    code, out = scratch.run("-m", "smoke", "-n", "2", "--env", ",".join(NAMES))
    found = {}
    with open_store(f"sqlite:///{scratch.root / '.releasegate' / 'record.db'}", create=False) as store:
        for release in store.releases():
            for result in store.results(release.id):
                found[release.environment, result.gate] = result
    assert {key: str(result.status) for key, result in found.items()} == {
        ("prod-eu", "front"): "passed",
        ("prod-eu", "name"): "passed",
        ("prod-us", "front"): "failed",
        ("prod-us", "name"): "failed",
    }, out
    judged = [one for key in found if key[0] == "prod-us" for one in found[key].findings if not one.observe]
    wrong = {str(one) for one in judged if one.ok != "yes"}
    assert wrong == {"console errors: expected 0, got 1: no chart (/)"}
    names = {one.name for one in found["prod-us", "name"].evidence}
    assert names >= {"01-say-who-it-is.png", "browser.json", "flow.har", "trace.zip"}
    assert code == 1
    assert "in all NO-GO: 1 of 2 targets ok" in out
