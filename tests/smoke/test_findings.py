"""What flows find besides their assertions, in a real browser: accessibility, vitals, complaints, and how to pay."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from pytest_releasegate.check import Context, Secrets
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.hooks.accessibility import Accessibility, axe_script
from pytest_releasegate.hooks.payments import payment_method
from pytest_releasegate.model import Environment, Release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.smoke.conftest import Scratch

STRICT = "default-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
PAGES = {
    "/poor": """<img src="/jane.png"><img src="/b.png"><button id="chart-1234567"></button>
      <iframe srcdoc="<img>"></iframe>""",
    "/fine": '<!doctype html><html lang="en"><title>Fine</title><main><h1>A page</h1></main></html>',
    "/many": "<p>x</p>" * 3_001,
    "/slow": """<button onclick="const end = performance.now() + 300; while (performance.now() < end);
      setTimeout(() => document.title = 'done', 50)">Go</button><p style="height: 500px">text</p><script>
      setTimeout(() => { const box = document.createElement("div"); box.style.height = "400px"; box.id = "late";
        document.body.prepend(box) }, 100)</script>""",
    "/frame": "<script>console.error('inner trouble')</script>",
    "/iframe": '<iframe src="/frame"></iframe>',
    "/worker": "<script>new Worker('/worker.js')</script>",
    "/worker.js": "console.error('trouble of a worker')",
    "/service": "<script>navigator.serviceWorker.register('/service.js')</script>",
    "/service.js": "console.error('trouble of a service worker')",
    "/popup": "<script>window.open('/frame?popup')</script>",
    "/refresh": '<meta http-equiv="refresh" content="0;url=/frame?after">',
    "/rejects": "<script>Promise.reject(new Error('nobody caught it'))</script>",
    "/asserts": "<script>console.assert(false, 'a count is off')</script>",
    "/absent": '<script src="/gone.js"></script>',
    "/caught": "<script>fetch('/loop').catch(() => 0)</script>",
    "/asks": "<script>alert('Saving failed')</script>",
    "/saves": '<a id="a" href="/data" download>x</a><script>a.click()</script>',
    "/data": "data",
    "/extends": "<img src='data:,'><script>Object.prototype.more = 1</script>",
    "/fakes": """<img src="data:,"><script>Object.defineProperty(globalThis, Symbol.for("releasegate.axe"), {value: {
      runPartial: async () => ({}),
      finishRun: async () => ({testEngine: {version: "9"}, violations: [], incomplete: []})}})</script>""",
    "/parts": "<script>fetch('/made-up'); fetch('/tracker').catch(() => 0)</script>",
}
FLOWS = """
import pytest
from pytest_releasegate.hooks.made import Forbidden, Kind, Thing

def load(page, flow, *paths):
    for path in paths:
        with flow.step(f"Load {path}"):
            page.goto(path)

@pytest.mark.gate("axe")
def test_axe(page, flow):
    load(page, flow, "/poor", "/poor", "/fine", "/many")

@pytest.mark.gate("axe-judged")
def test_axe_judged(page, flow):
    flow.accessible(below="serious")
    load(page, flow, "/poor")

@pytest.mark.gate("axe-without")
def test_axe_without(page, flow):
    flow.accessible(below="critical", without=("image-alt", "button-name"))
    load(page, flow, "/poor")

@pytest.mark.gate("axe-unknown")
def test_axe_unknown(page, flow):
    flow.accessible(below="terrible")

@pytest.mark.gate("axe-faked")
def test_axe_faked(page, flow):
    flow.accessible(below="critical")
    load(page, flow, "/fakes")

@pytest.mark.gate("extends")
def test_extends(page, flow):
    load(page, flow, "/extends")

@pytest.mark.gate("page-made-up")
def test_page_made_up(page, flow):
    page.route("**/paid", lambda route: route.fulfill(body="<h1>Paid</h1>", content_type="text/html"))
    load(page, flow, "/paid")

@pytest.mark.gate("part-made-up")
def test_part_made_up(page, flow):
    page.route("**/made-up", lambda route: route.fulfill(body="made up"))
    page.route("**/tracker", lambda route: route.abort("blockedbyclient"))
    with page.expect_event("requestfailed"):
        load(page, flow, "/parts", "/parts")

@pytest.mark.gate("vitals")
def test_vitals(page, flow):
    with flow.step("Use a slow page"):
        page.goto("/slow")
        page.wait_for_selector("#late", state="attached")
        page.get_by_role("button").click()
        page.wait_for_function("document.title == 'done'")

@pytest.mark.gate("vitals-judged")
def test_vitals_judged(page, flow):
    flow.expects_vitals(cls=0.1, lcp="60s", inp="1ms")
    with flow.step("Open a slow page"):
        page.goto("/slow")
        page.wait_for_selector("#late", state="attached")

@pytest.mark.gate("vitals-unknown")
def test_vitals_unknown(page, flow):
    flow.expects_vitals(lpc="1s")

@pytest.mark.gate("attacks")
def test_attacks(page, flow, browser):
    with flow.step("Load what complains"):
        for path in ("/iframe", "/worker", "/service", "/popup", "/refresh", "/asserts", "/absent", "/strict"):
            with page.context.expect_event("console", lambda message: message.type in ("error", "assert")):
                page.goto(path)
        with page.context.expect_event("weberror"):
            page.goto("/rejects")
        with page.context.expect_event("requestfailed"):
            page.goto("/caught")
    further = browser.new_context().new_page()
    with flow.step("Work in a context that nobody announced", page=further):
        with further.expect_event("console"):
            further.goto(page.url.replace("/caught", "/frame?further"))

@pytest.mark.gate("shown")
def test_shown(page, flow):
    with flow.step("Load what asks and what saves"):
        page.goto("/asks")
        with page.expect_download():
            page.goto("/saves")

@pytest.mark.gate("loop")
def test_loop(page, flow):
    load(page, flow, "/loop")

@pytest.mark.gate("crash")
def test_crash(page, flow):
    load(page, flow, "/fine")
    with flow.step("Crash"):
        with page.expect_event("crash"):
            with pytest.raises(Exception):
                page.goto("chrome://crash")

@pytest.mark.gate("closes")
def test_closes(page, flow):
    with flow.step("Close"):
        page.goto("/fine")
        page.close()

class Shop:
    # a product in memory: ghosts cannot be removed, and stones not even be voided
    def __init__(self):
        self.things = {"old": "rg-00000000 2020-01-01 00:00", "new one": "rg-11111111 2999-01-01 00:00", "other": "x"}
        self.void = set()

    def kind(self, name):
        def remove(thing):
            if name == "ghosts" or thing.key == "stone":
                raise Forbidden(thing.key)
            del self.things[thing.key]
        find = lambda text: [Thing(key, on, key in self.void) for key, on in self.things.items() if text in on]
        return Kind(name, find, remove, (lambda thing: self.void.add(thing.key)) if name == "ghosts" else None)

def order(page, flow, made, kind, key):
    shop = Shop()
    made.will_be(shop.kind(kind))
    shop.things[key] = made.mark
    load(page, flow, "/fine")

@pytest.mark.gate("made-removed")
def test_made_removed(page, flow, made):
    order(page, flow, made, "orders", "new")

@pytest.mark.gate("made-voided")
def test_made_voided(page, flow, made):
    order(page, flow, made, "ghosts", "new")

@pytest.mark.gate("made-stays")
def test_made_stays(page, flow, made):
    order(page, flow, made, "orders", "stone")

@pytest.mark.gate("pays")
def test_pays(page, flow):
    method = flow.payment_method("card")
    load(page, flow, f"/{method}")
"""
BUSY = """
import pytest

@pytest.mark.gate("busy")
def test_busy(page, flow):
    with flow.step("Load a page that comes to no rest"):
        page.goto("/fine")
        page.evaluate('''setTimeout(() => {
            const ask = new XMLHttpRequest(); ask.open("GET", "/never", false); ask.send()
        })''')
"""
ENVIRONMENT = 'base_url: "{}", protected: true, allow: [writes_through_app]'
IMPATIENT = """
from pytest_releasegate.hooks import flow, pages
flow._SETTLED_MS = 500
pages.AT_MOST_MS = 500
"""


class Pages(BaseHTTPRequestHandler):
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/never":
            self.over.wait(60)
        script, body = path.endswith(".js"), PAGES.get(path, "<script>1</script>")
        self.send_response(302 if path == "/loop" else 404 if path == "/gone.js" else 200)
        if path == "/loop":
            self.send_header("Location", "/loop")
        if path in {"/poor", "/strict"}:
            self.send_header("Content-Security-Policy", STRICT)
        kind = "application/octet-stream" if path == "/data" else "text/javascript" if script else "text/html"
        self.send_header("Content-Type", kind)
        text = (body if script or body.startswith("<!") else f'<link rel="icon" href="data:,">{body}').encode()
        self.send_header("Content-Length", str(len(text)))
        with suppress(BrokenPipeError, ConnectionResetError):
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Pages.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def product(root: Path, make_scratch: type[Scratch], flows: str, environment: str) -> Scratch:
    (root / "smoke").mkdir(parents=True)
    (root / "smoke" / "test_pages.py").write_text(flows)
    scratch = make_scratch(root, {})
    scratch.prepare(environment)
    return scratch


@pytest.fixture(scope="module")
def walked(server: str, tmp_path_factory: pytest.TempPathFactory, make_scratch: type[Scratch]) -> Scratch:
    scratch = product(tmp_path_factory.mktemp("found"), make_scratch, FLOWS, ENVIRONMENT.format(server))
    scratch.run("-m", "smoke", "-n", "2")
    return scratch


def told(walked: Scratch, gate: str) -> dict[str, str]:
    return {finding.name: finding.actual for finding in walked.results()[gate].findings}


def observed(walked: Scratch, gate: str) -> dict[str, str]:
    return {finding.name: finding.actual for finding in walked.results()[gate].findings if finding.observe}


def test_accessibility_is_shown_and_not_judged_also_under_a_strict_policy(walked: Scratch) -> None:
    walked_axe = observed(walked, "axe")
    assert "critical: button-name 1, image-alt 3; serious: document-title" in walked_axe["accessibility"]
    assert walked_axe["accessibility, pages looked at"] == "2"
    assert "elements are too many for axe" in walked_axe["accessibility, Load /many"]
    assert not any(name.startswith("accessibility") for name in told(walked, "axe").keys() - walked_axe.keys())


def test_the_evidence_of_axe_names_rules_and_places_and_nothing_of_the_page(walked: Scratch) -> None:
    body = walked.evidence("axe")["axe.json"]
    pages = json.loads(body)["pages"]
    assert [page["step"] for page in pages] == ["Load /poor", "Load /fine"], "what is the same is looked at once"
    image = next(rule for rule in pages[0]["violations"] if rule["rule"] == "image-alt")
    assert image["impact"] == "critical"
    assert image["elements"] == 3
    assert image["selectors"] == ["img[src]", "iframe | img"]
    assert image["help_url"].startswith("https://dequeuniversity.com/rules/axe/")
    assert all(page["seconds"] > 0 for page in pages)
    assert b"jane" not in body
    assert b"1234567" not in body


def test_accessibility_is_judged_where_a_flow_asks(walked: Scratch) -> None:
    assert walked.results()["axe-judged"].status == "failed"
    assert "accessibility, serious and worse: expected no violations, got critical: " in walked.wrong("axe-judged")
    assert "region" in observed(walked, "axe-judged")["accessibility, the rest"]
    without = told(walked, "axe-without")
    assert without["accessibility, critical and worse, without image-alt, button-name"] == "none"
    assert walked.results()["axe-unknown"].status == "error"
    assert "expected one of critical, serious, moderate, minor, got terrible" in walked.results()["axe-unknown"].message


def test_a_page_cannot_bring_an_axe_of_its_own(walked: Scratch) -> None:
    assert "accessibility, critical and worse: expected no violations, got critical: " in walked.wrong("axe-faked")


def test_a_page_that_axe_does_not_bear_is_no_error_of_the_page(walked: Scratch) -> None:
    assert walked.results()["extends"].status == "passed", walked.wrong("extends")
    assert "Getter must be a function" in observed(walked, "extends")["accessibility, Load /extends"]


def test_what_a_route_of_the_test_answers_or_blocks_is_told(walked: Scratch) -> None:
    assert observed(walked, "page-made-up")["answers given by a route of the test"].endswith("/paid")
    assert walked.results()["page-made-up"].status == "inconclusive"
    assert "pages looked at: expected >= 1, got 0" in walked.wrong("page-made-up")
    assert walked.results()["part-made-up"].status == "passed", walked.wrong("part-made-up")
    told_of = observed(walked, "part-made-up")
    assert told_of["answers given by a route of the test"].startswith("2: GET http://127.0.0.1:")
    assert told_of["answers given by a route of the test"].endswith("/made-up")
    assert "/tracker: net::ERR_BLOCKED_BY_CLIENT" in told_of["requests blocked by the test"]


def test_vitals_of_the_worst_page_are_shown_with_what_is_good(walked: Scratch) -> None:
    findings = {finding.name: finding for finding in walked.results()["vitals"].findings if finding.observe}
    shift, touched = findings["CLS (layout shift)"], findings["INP (interaction)"]
    assert shift.expected == "<= 0.1 (poor over 0.25)"
    assert (shift.ok, touched.ok) == ("no", "no")
    assert float(shift.actual.split()[0]) > 0.1
    assert int(touched.actual.split("ms")[0]) >= 296
    assert {findings[name].ok for name in ("LCP (largest paint)", "FCP (first paint)", "TTFB (first byte)")} <= {
        "yes",
        "no",
    }
    (page,) = json.loads(walked.evidence("vitals")["vitals.json"])["pages"]
    assert page["lcp"] >= page["fcp"] > page["ttfb"] > 0


def test_vitals_are_judged_where_a_flow_asks(walked: Scratch) -> None:
    assert walked.results()["vitals-judged"].status == "failed"
    wrong = walked.wrong("vitals-judged")
    assert "CLS (layout shift): expected <= 0.1, got 0." in wrong
    assert "INP (interaction): expected <= 1ms, got no page has measured it" in wrong
    judged = [finding for finding in walked.results()["vitals-judged"].findings if not finding.observe]
    assert [finding.ok for finding in judged if finding.name.startswith("LCP")] == ["yes"]
    assert "expects_vitals(lpc=): no such measure" in walked.results()["vitals-unknown"].message


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("console errors", "inner trouble (/frame)"),
        ("console errors", "trouble of a worker (/worker.js)"),
        ("console errors", "trouble of a service worker (/service.js)"),
        ("console errors", "a count is off"),
        ("console errors", "Content Security Policy"),
        ("uncaught page errors", "nobody caught it"),
        ("failed requests", "/gone.js: 404"),
        ("failed requests", "/loop: net::ERR_TOO_MANY_REDIRECTS"),
    ],
)
def test_no_corner_of_the_browser_complains_unheard(walked: Scratch, kind: str, text: str) -> None:
    heard = json.loads(walked.evidence("attacks")["browser.json"])[kind]
    assert any(text in line for line in heard), heard
    assert f"{kind}: expected 0, got " in walked.wrong("attacks")


def test_frames_popups_new_documents_and_further_contexts_are_heard_each(walked: Scratch) -> None:
    heard = json.loads(walked.evidence("attacks")["browser.json"])["console errors"]
    assert sum("inner trouble" in line for line in heard) == 4
    assert walked.results()["attacks"].status == "failed"


def test_dialogs_and_downloads_are_shown(walked: Scratch) -> None:
    assert walked.results()["shown"].status == "passed", walked.wrong("shown")
    shown = observed(walked, "shown")
    assert shown["dialogs"].startswith("1: alert on http://127.0.0.1:")
    assert shown["dialogs"].endswith("/asks")
    assert shown["downloads"].endswith("/data")


def test_a_redirect_loop_fails_its_step(walked: Scratch) -> None:
    assert walked.results()["loop"].status == "failed", walked.results()["loop"].message
    assert "step 1, Load /loop: expected done, got Page.goto: net::ERR_TOO_MANY_REDIRECTS" in walked.wrong("loop")


def test_a_page_that_crashes_or_is_closed_is_never_green(walked: Scratch) -> None:
    assert walked.results()["crash"].status == "failed"
    assert "crashed pages: expected 0, got 1: " in walked.wrong("crash")
    assert walked.results()["closes"].status == "inconclusive"
    assert "picture 01-close.png: expected taken, got " in walked.wrong("closes")


def test_a_page_that_never_comes_to_rest_ends_inconclusive(
    server: str, tmp_path: Path, make_scratch: type[Scratch]
) -> None:
    scratch = product(tmp_path / "busy", make_scratch, BUSY, f'base_url: "{server}"')
    (scratch.root / "conftest.py").write_text(IMPATIENT)
    scratch.run("-m", "smoke")
    assert scratch.results()["busy"].status == "inconclusive"
    wrong = scratch.wrong("busy")
    assert "accessibility, Load a page that comes to no rest: expected looked at, got the page does not answer" in wrong
    assert "complaints heard to the end: expected yes, got the page does not answer: " in wrong


def test_what_a_flow_makes_goes_away_and_older_things_with_it(walked: Scratch) -> None:
    assert walked.results()["made-removed"].status == "passed", walked.wrong("made-removed")
    told_of = told(walked, "made-removed")
    assert told_of["orders of killed runs, removed"] == "1"
    assert told_of["left behind"] == "0"
    assert json.loads(walked.evidence("made-removed")["made.json"])["voided"] == []


def test_what_cannot_be_removed_is_voided_and_listed(walked: Scratch) -> None:
    assert walked.results()["made-voided"].status == "passed", walked.wrong("made-voided")
    assert observed(walked, "made-voided")["voided, not removed"] == "1: ghosts new"
    assert json.loads(walked.evidence("made-voided")["made.json"])["voided"] == [{"kind": "ghosts", "key": "new"}]


def test_what_can_neither_be_removed_nor_voided_turns_the_gate_red(walked: Scratch) -> None:
    assert walked.results()["made-stays"].status == "failed"
    assert "left behind: expected 0, got 1: 1 orders" in walked.wrong("made-stays")
    assert "clean-up: expected done, got stone" in walked.wrong("made-stays")


def test_live_payments_without_a_declared_method_are_inconclusive(walked: Scratch) -> None:
    result = walked.results()["pays"]
    assert result.status == "inconclusive"
    assert "payments are live on the environment 'demo', and no method to pay with in tests" in result.message
    assert "payment method: expected one for tests, or test mode, got live mode, none is" in walked.wrong("pays")


def context(*, protected: bool, **values: str) -> Context:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    release = Release(product="ehr", version="1.4.0", environment="prod", opened_at=now)
    environment = Environment(name="prod", protected=protected, values=values)
    return Context(environment, release, Path(), secrets=Secrets({"METHOD": "pm_card_test"}))


@pytest.mark.parametrize(
    ("protected", "values", "method"),
    [
        (False, {}, "card"),
        (False, {"payment_method": "${env:METHOD}"}, "pm_card_test"),
        (True, {"payment_method": "${env:METHOD}"}, "pm_card_test"),
        (True, {}, ""),
        (True, {"payment_method": " "}, ""),
        (True, {"payment_mode": "test"}, "card"),
        (False, {"payment_mode": "live"}, ""),
    ],
)
def test_what_to_pay_with_follows_mode_and_declaration(protected: bool, values: dict[str, str], method: str) -> None:
    told: list[dict[str, Any]] = []
    look, finder = context(protected=protected, **values), lambda name, **rest: told.append(rest)
    if method:
        assert payment_method(look, finder, "card") == method  # type: ignore[arg-type]
    else:
        with pytest.raises(pytest.skip.Exception, match="nothing was paid"):
            payment_method(look, finder, "card")  # type: ignore[arg-type]
    assert [one["ok"] for one in told] == ["yes" if method else "cannot tell"]


def test_a_mode_that_is_none_is_an_error() -> None:
    with pytest.raises(CannotLook, match="expected live or test, got sandbox"):
        payment_method(context(protected=True, payment_mode="sandbox"), None, "card")  # type: ignore[arg-type]


def test_without_axe_each_page_says_what_to_do() -> None:
    looks = Accessibility(None)
    looks.see(SimpleNamespace(url="http://127.0.0.1/"), "Load", answers=True)  # type: ignore[arg-type]
    pages, why = looks.findings()
    assert (pages.ok, why.ok) == ("cannot tell", "cannot tell")
    assert pages.observe
    assert why.observe
    assert "axe-core is not installed: install pytest-releasegate[smoke]" in why.actual


def test_a_local_script_is_taken_and_what_is_misspelt_is_said(tmp_path: Path) -> None:
    (tmp_path / "axe.min.js").touch()
    assert axe_script("axe.min.js", tmp_path) == tmp_path / "axe.min.js"
    with pytest.raises(CannotLook, match="releasegate_axe_script: there is no file"):
        axe_script("gone.js", tmp_path)
    with pytest.raises(CannotLook, match="releasegate_axe: expected one of observe, off, critical"):
        Accessibility(None, "severe")
    assert list(Accessibility(None, "off").findings()) == []
