"""The page: well-formed, complete, harmless, loads nothing, and shows in a browser what the record holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from playwright.sync_api import sync_playwright

from pytest_releasegate.model import Finding, Ok, Status
from pytest_releasegate.report.exhibits import MOST_TEXT
from pytest_releasegate.report.html import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Dialog, Page

    from conftest import Builder
    from pytest_releasegate.report.view import ReleaseView

SEEN = Finding("a", "b", "b", Ok.YES)
VOID = {"meta", "img", "br", "input"}


@dataclass
class Element:
    """A start tag with its attributes and all text under it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Tree(HTMLParser):
    """Elements in document order; fails on tags that do not match."""

    elements: list[Element] = field(default_factory=list)
    stack: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.stack:
            element.text += data


def parsed(view: ReleaseView) -> Tree:
    """The page of a release, read back."""
    tree = Tree()
    tree.feed(render(view))
    tree.close()
    assert tree.stack == []
    return tree


def gates(tree: Tree) -> dict[str, Element]:
    """The gates on the page by id."""
    found = [element for element in tree.elements if element.attributes.get("class") == "gate"]
    return {element.attributes["id"].removeprefix("gate-"): element for element in found}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real browser; no browser is a failure, not a skip."""
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := which(name))), None)
    with sync_playwright() as playwright:
        bundled = playwright.chromium.executable_path
        path = found or (bundled if Path(bundled).exists() else None)
        assert path, "no Chromium: install one, or run `playwright install chromium`"
        opened = playwright.chromium.launch(executable_path=path)
        yield opened
        opened.close()


@dataclass
class Opened:
    """A page in the browser, and what it asked for or complained about."""

    page: Page
    requests: list[str]
    complaints: list[str]


@pytest.fixture
def show(chromium: Browser, tmp_path: Path) -> Iterator[Callable[[ReleaseView], Opened]]:
    """Opens the page of a release from a file."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})

    def show(view: ReleaseView) -> Opened:
        file = tmp_path / "release.html"
        file.write_text(render(view), encoding="utf-8")
        opened = Opened(page, [], [])

        def refuse(dialog: Dialog) -> None:
            opened.complaints.append(dialog.message)
            dialog.dismiss()

        page.on("request", lambda request: opened.requests.append(request.url))
        page.on("console", lambda message: opened.complaints.append(message.text))
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.on("dialog", refuse)
        page.goto(file.as_uri())
        opened.requests.remove(file.as_uri())
        return opened

    yield show
    page.close()


@pytest.mark.parametrize("name", ["good", "mixed", "hostile", "untouched"])
def test_every_gate_of_the_plan_is_there_once_with_its_status(name: str, request: pytest.FixtureRequest) -> None:
    view = request.getfixturevalue(name)
    tree = parsed(view)
    shown = {gate: element.attributes["data-status"] for gate, element in gates(tree).items()}
    assert shown == {gate: row.status.value for gate, row in view.standings.items()}
    ids = Counter(element.attributes["id"] for element in tree.elements if "id" in element.attributes)
    assert [name for name, number in ids.items() if number > 1] == []


@pytest.mark.parametrize("name", ["good", "mixed", "untouched"])
def test_the_words_are_those_of_the_verdicts(name: str, request: pytest.FixtureRequest) -> None:
    view = request.getfixturevalue(name)
    tree = parsed(view)
    phases = [element.attributes["data-phase"] for element in tree.elements if "data-phase" in element.attributes]
    words = [element.text for element in tree.elements if element.attributes.get("class") == "decision"]
    assert dict(zip(phases, words, strict=True)) == {
        phase.value: verdict.decision.value + ("" if view.begun(phase) else " not begun")
        for phase, verdict in view.phases.items()
    }


def test_a_missing_gate_is_shown_as_missing(mixed: ReleaseView) -> None:
    text = gates(parsed(mixed))["2.1.1"].text
    assert text.strip().startswith("missing")
    assert "The record holds no valid look at this gate." in text


def test_every_status_is_shown_in_words(mixed: ReleaseView) -> None:
    texts = {gate: element.text.strip() for gate, element in gates(parsed(mixed)).items()}
    for gate, row in mixed.standings.items():
        assert texts[gate].startswith(row.status.value.replace("_", " ")), gate
    assert {row.status for row in mixed.standings.values()} == set(Status)


def test_links_lead_somewhere(mixed: ReleaseView) -> None:
    tree = parsed(mixed)
    ids = {element.attributes.get("id") for element in tree.elements}
    links = [element.attributes["href"] for element in tree.elements if element.tag == "a"]
    assert len(links) > 5
    assert [link for link in links if unquote(link.removeprefix("#")) not in ids] == []


def test_the_head_tells_the_release(mixed: ReleaseView) -> None:
    text = next(element.text for element in parsed(mixed).elements if element.tag == "header")
    release = mixed.release
    told = (release.product, release.version, release.environment, release.git_commit, release.git_branch)
    assert [
        word for word in (*told, mixed.plan.digest, mixed.record, "2026-01-04 16:12:00 UTC") if word not in text
    ] == []
    assert "Deployednot recorded" in text.replace("\n", "")


def test_all_attempts_are_there(mixed: ReleaseView) -> None:
    text = gates(parsed(mixed))["2.2.2"].text
    assert "1 other attempt, not judged" in text
    assert "report.xml: no such file\nhint: run the suite" in text
    assert "2026-01-05 08:30:00 UTC" in text


def test_attestations_and_the_timeline(mixed: ReleaseView) -> None:
    sections = {element.attributes.get("id"): element.text for element in parsed(mixed).elements}
    for word in ("6.3.1", "Ada Weber", "security_lead", "roles compared", "2026-01-05 09:30:00 UTC"):
        assert word in sections["attestations"]
    assert "step deploy/before closed" in sections["timeline"]
    assert "it goes on, or was killed" in sections["timeline"]


def test_the_sign_off_sheet_has_five_empty_lines(good: ReleaseView) -> None:
    tree = parsed(good)
    roles = [element.text for element in tree.elements if element.attributes.get("scope") == "row"]
    assert roles == ["Release Manager", "Engineering Lead", "Database Administrator", "Security Lead", "Product Owner"]


def test_hostile_text_stays_text(hostile: ReleaseView, harm: str) -> None:
    tree = parsed(hostile)
    assert Counter(element.tag for element in tree.elements)["script"] == 1
    assert [element for element in tree.elements if element.tag == "img"] == []
    handlers = [name for element in tree.elements for name in element.attributes if name.startswith("on")]
    assert handlers == []
    text = gates(tree)["1.1.1"].text
    assert harm.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e") in text
    assert not set(render(hostile)) & {"\x1b", "\u202e", "\x00", "\ud800"}


def test_huge_texts_are_cut_and_say_so(hostile: ReleaseView) -> None:
    page = render(hostile)
    assert len(page) < 150_000
    assert "298000 more characters in the record" in page


def test_long_text_evidence_is_cut_with_a_note(mixed: ReleaseView) -> None:
    tree = parsed(mixed)
    longest = max((element.text for element in tree.elements if element.tag == "pre"), key=len)
    assert len(longest) == MOST_TEXT
    assert "Cut: the first 20.0 KiB of 36.9 KiB; the record has the rest." in gates(tree)["2.2.2"].text


def test_erased_and_changed_bytes_are_told(build: Callable[[], Builder]) -> None:
    built = build()
    gate = built.gate("1.1.1", "Seen", "Item")
    erased, changed = built.evidence("a.txt", "text/plain", b"one"), built.evidence("b.txt", "text/plain", b"two")
    built.looked(gate, Status.PASSED, SEEN, evidence=(erased, changed))
    del built.bodies[erased.sha256]
    built.bodies[changed.sha256] = b"forged"
    text = gates(parsed(built.view()))["1.1.1"].text
    assert "The bytes were erased from the record; their digest remains." in text
    assert "The bytes in the record do not have this digest; they are not shown." in text
    assert "forged" not in text
    assert erased.sha256 in text


def test_the_same_bytes_are_shown_once(build: Callable[[], Builder]) -> None:
    built = build()
    shot = built.screenshot()
    for number in (1, 2):
        gate = built.gate(f"1.1.{number}", "Seen", "Item")
        built.looked(gate, Status.PASSED, SEEN, evidence=(shot,))
    tree = parsed(built.view())
    assert len([element for element in tree.elements if element.tag == "img"]) == 1
    assert "The same bytes are shown under gate 1.1.1." in gates(tree)["1.1.2"].text


def test_an_absent_case_is_missing(build: Callable[[], Builder]) -> None:
    built = build()
    gate = built.gate("1.1.1", "Works in browsers", "Smoke", cases=("chromium", "firefox"))
    built.looked(gate, Status.FAILED, Finding("a", "b", "c", Ok.NO), case="chromium")
    assert "missing case firefox" in " ".join(gates(parsed(built.view()))["1.1.1"].text.split())


def test_a_plan_without_gates_is_said(good: ReleaseView) -> None:
    empty = replace(good, plan=replace(good.plan, gates=()), standings={}, phases={}, results=())
    assert "The plan holds no gate." in render(empty)
    assert "each phase of the plan is GO" not in render(empty)


@pytest.mark.parametrize("name", ["good", "mixed", "hostile"])
def test_the_page_loads_nothing_and_runs_nothing_foreign(
    name: str, request: pytest.FixtureRequest, show: Callable[[ReleaseView], Opened]
) -> None:
    opened = show(request.getfixturevalue(name))
    opened.page.locator("#expand").click()
    opened.page.wait_for_load_state("networkidle")
    assert [url for url in opened.requests if not url.startswith("data:image/png;base64,")] == []
    assert opened.complaints == []


def test_a_screenshot_is_visible_and_opens_large(good: ReleaseView, show: Callable[[ReleaseView], Opened]) -> None:
    page = show(good).page
    page.locator("#gate-10\\.1\\.1 > summary").click()
    image = page.locator("#gate-10\\.1\\.1 img")
    assert image.is_visible()
    assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [640, 400]
    small = image.bounding_box()
    image.click()
    large = image.bounding_box()
    assert small
    assert large
    assert small["height"] < 200 < large["height"]


def test_the_filter_hides_on_screen_but_not_in_print(mixed: ReleaseView, show: Callable[[ReleaseView], Opened]) -> None:
    page = show(mixed).page
    holding, failing = page.locator("#gate-2\\.2\\.1"), page.locator("#gate-2\\.2\\.2")
    page.locator("#filter-open").check()
    assert (holding.is_visible(), failing.is_visible()) == (False, True)
    page.emulate_media(media="print")
    assert holding.is_visible()
    assert not page.locator("#tools").is_visible()


@pytest.mark.parametrize("columns", [420, 1280])
@pytest.mark.parametrize("name", ["mixed", "hostile"])
def test_nothing_runs_out_of_the_page(
    name: str, columns: int, request: pytest.FixtureRequest, show: Callable[[ReleaseView], Opened]
) -> None:
    page = show(request.getfixturevalue(name)).page
    page.set_viewport_size({"width": columns, "height": 900})
    page.locator("#expand").click()
    assert page.evaluate("document.documentElement.scrollWidth") == columns
