"""What axe-core finds on the pages of a flow; shown by default, and judged where a team says from which impact on."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING, Any

from pytest_releasegate.check import find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.hooks.pages import ask
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.striking import address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from playwright.sync_api import Frame, Page

    from pytest_releasegate.model import Finding

__all__ = ["IMPACTS", "Accessibility", "axe_script"]

IMPACTS = ("critical", "serious", "moderate", "minor")
_PACKAGE = "axe_playwright_python"
_MOST_ELEMENTS = 3_000
"""The time that axe takes can grow with the square of the elements: 3,000 are about a second, 40,000 over a minute."""
_MOST_MS = 10_000
_MOST_FRAMES = 10
_MOST_SELECTORS = 20
_SYMBOL = f'Symbol.for("releasegate.axe.{token_hex(8)}")'
"""Where axe is on a page; no page knows it beforehand, so none can put an axe of its own there."""
_AXE = f"globalThis[{_SYMBOL}]"
_PROBE = f"""() => {{
  const text = document.documentElement?.outerHTML ?? "";
  let hash = 7;
  for (let at = 0; at < text.length; at++) hash = (hash * 31 + text.charCodeAt(at)) | 0;
  return {{known: !!{_AXE}, elements: document.getElementsByTagName("*").length, hash: `${{text.length}}:${{hash}}`}};
}}"""
# the page keeps its own `axe`, `define` and `module`, where it has some
_LOAD = (
    """() => {
  const before = Object.getOwnPropertyDescriptor(globalThis, "axe");
  (function (define, module, exports) {
"""
    "%s"
    """
  }).call(globalThis);
  Object.defineProperty(globalThis, SYMBOL, {value: globalThis.axe});
  if (before) Object.defineProperty(globalThis, "axe", before); else delete globalThis.axe;
  return true;
}""".replace("SYMBOL", _SYMBOL)
)
_FRAMES = f"context => {_AXE}.utils.getFrameContexts(context)"
_ELEMENT = f"selector => {_AXE}.utils.shadowSelect(selector)"
_RUN = f"([context, options]) => {_AXE}.runPartial(context, options)"
_WHOLE: dict[str, Any] = {"exclude": []}
_FINISH = f"""async ([parts, options]) => {{
  const all = await {_AXE}.finishRun(parts, options);
  const short = one => ({{...one, nodes: one.nodes.map(node => node.target), tags: []}});
  const [violations, incomplete] = [all.violations.map(short), all.incomplete.map(short)];
  return {{version: all.testEngine.version, violations, incomplete}};
}}"""
_ALONE = f"""async options => {{
  (%s)();
  return await ({_FINISH})([[await {_AXE}.runPartial({_WHOLE}, options)], options]);
}}"""
_OPTIONS = {"resultTypes": ["violations", "incomplete"], "preload": False}
"""`preload` would fetch style sheets of other hosts, and the browser would complain of what it cannot get."""
_ATTRIBUTE = re.compile(r"""([~|^$*]?=)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\]]*)""")
_DIGITS = re.compile(r"\d{3,}")


def axe_script(said: str, root: Path) -> Path | None:
    """Where axe.min.js is: the file that the ini value names, or that of the extra `smoke`; None without either."""
    if said:
        path = root / said
        if not path.is_file():
            raise CannotLook(f"releasegate_axe_script: there is no file {path}", "name an axe.min.js of axe-core")
        return path
    spec = find_spec(_PACKAGE)
    places = [Path(place, "axe.min.js") for place in (spec.submodule_search_locations or ()) if spec] if spec else []
    return next((path for path in places if path.is_file()), None)


class Accessibility:
    """Looks at a page with axe-core once a step, and not again at what is the same; a flow has one of these."""

    name = "axe.json"

    def __init__(self, script: Path | None, level: str = "observe") -> None:
        if level not in {"observe", "off", *IMPACTS}:
            known = ", ".join(("observe", "off", *IMPACTS))
            raise CannotLook(f"releasegate_axe: expected one of {known}, got {level}", "`observe` is the default")
        self._script = script
        self._off = level == "off"
        self._below = level if level in IMPACTS else ""
        self._without: tuple[str, ...] = ()
        self._pages: list[dict[str, Any]] = []
        self._not_looked_at: list[dict[str, str]] = []
        self._elements: dict[tuple[str, str], set[str]] = {}
        self._known: set[tuple[str, ...]] = set()
        self._version = ""

    def judge(self, below: str, without: Iterable[str]) -> None:
        """Judge what has this impact or a worse one, leaving rules out from now on."""
        if below not in IMPACTS:
            raise CannotLook(f"accessible(below=): expected one of {', '.join(IMPACTS)}, got {below}")
        self._off, self._below, self._without = False, below, tuple(without)

    def see(self, page: Page, step: str, *, answers: bool) -> None:
        """Look at the page as it is now, if it answers at all."""
        if self._off or page.url == "about:blank":
            return
        from playwright.sync_api import Error

        if not answers:
            self._not_looked_at.append({"step": step, "url": address(page.url), "why": "the page does not answer"})
            return
        start = monotonic()
        try:
            found = self._look(page)
        except (CannotLook, Error) as why:
            self._not_looked_at.append({"step": step, "url": address(page.url), "why": str(why).splitlines()[0][:200]})
        else:
            if found is not None:
                self._keep(found, page, step, monotonic() - start)

    def findings(self) -> Iterator[Finding]:
        """A finding for each impact, how many pages were looked at, and each page that could not be."""
        if self._off or not (self._below or self._pages or self._not_looked_at):
            return
        cut = IMPACTS.index(self._below) + 1 if self._below else 0
        without = f", without {', '.join(self._without)}" if self._without else ""
        if self._pages and cut:
            yield self._found(f"accessibility, {self._below} and worse{without}", IMPACTS[:cut], observe=False)
        if self._pages and cut < len(IMPACTS):
            yield self._found(f"accessibility{', the rest' if cut else ''}{without}", IMPACTS[cut:], observe=True)
        seen, observe = len(self._pages), not self._below
        ok = True if seen else Ok.CANNOT_TELL
        yield find("accessibility, pages looked at", expected=">= 1", actual=seen, ok=ok, observe=observe)
        for one in self._not_looked_at:
            name = f"accessibility, {one['step']}"
            yield find(name, expected="looked at", actual=one["why"], ok=Ok.CANNOT_TELL, observe=observe)

    def _found(self, name: str, impacts: Sequence[str], *, observe: bool) -> Finding:
        told = []
        for impact in impacts:
            rules = {rule: len(found) for (rule, worst), found in self._elements.items() if worst == impact}
            if rules:
                told.append(f"{impact}: " + ", ".join(f"{rule} {count}" for rule, count in sorted(rules.items())))
        return find(name, expected="no violations", actual="; ".join(told) or "none", ok=not told, observe=observe)

    def told(self) -> dict[str, Any]:
        """What was found, for the record: rules and selectors, and nothing that stands on the page."""
        if not self._pages and not self._not_looked_at:
            return {}
        judged = f"{self._below} and worse" if self._below else "nothing"
        told = {"axe": self._version, "judged": judged, "without": list(self._without)}
        return {**told, "pages": self._pages, "not_looked_at": self._not_looked_at}

    def _look(self, page: Page) -> dict[str, Any] | None:
        """What axe finds in the page and its frames; None where the same was looked at before."""
        if self._script is None:
            hint = "install pytest-releasegate[smoke], or name a file: releasegate_axe_script"
            raise CannotLook(f"axe-core is not installed: {hint}")
        probes = [ask(frame, _PROBE) for frame in page.frames[:_MOST_FRAMES]]
        known = (address(page.url), *(probe["hash"] for probe in probes))
        if known in self._known:
            return None
        options = {**_OPTIONS, "rules": {rule: {"enabled": False} for rule in self._without}}
        load = self._load(probes[0])
        if len(page.frames) == 1:  # in one question: a trace keeps two pictures of the page for each
            found: dict[str, Any] = ask(page.main_frame, _ALONE % load, options, at_most=_MOST_MS)
        else:
            ask(page.main_frame, load)
            parts = self._parts(page.main_frame, _WHOLE, options, [_MOST_FRAMES])
            found = ask(page.main_frame, _FINISH, [parts, options], at_most=_MOST_MS)
        self._known.add(known)
        return found

    def _load(self, probe: dict[str, Any]) -> str:
        """What brings axe into a frame, where it is not there yet."""
        if probe["elements"] > _MOST_ELEMENTS:
            raise CannotLook(f"{probe['elements']:,} elements are too many for axe, which takes {_MOST_ELEMENTS:,}")
        return "() => true" if probe["known"] else _LOAD % Path(str(self._script)).read_text("utf-8")

    def _parts(self, frame: Frame, context: Any, options: dict[str, Any], left: list[int]) -> list[Any]:
        """What axe says of a frame and of those inside; None for one that it could not look at, as axe wants it."""
        from playwright.sync_api import Error

        parts = [ask(frame, _RUN, [context, options], at_most=_MOST_MS)]
        for inner in ask(frame, _FRAMES, context):
            left[0] -= 1
            try:
                child = _frame_at(frame, inner["frameSelector"]) if left[0] >= 0 else None
                if child:
                    ask(child, self._load(ask(child, _PROBE)))
                parts += self._parts(child, inner["frameContext"], options, left) if child else [None]
            except (CannotLook, Error):
                parts.append(None)
        return parts

    def _keep(self, found: dict[str, Any], page: Page, step: str, seconds: float) -> None:
        self._version = str(found["version"])
        for one in found["violations"]:
            key = (str(one["id"]), one["impact"] or "minor")
            self._elements.setdefault(key, set()).update(json.dumps(target) for target in one["nodes"])
        self._pages.append(
            {
                "step": step,
                "url": address(page.url),
                "seconds": round(seconds, 3),
                "violations": [_violation(one) for one in found["violations"]],
                "incomplete": {str(one["id"]): len(one["nodes"]) for one in found["incomplete"]},
            }
        )


def _frame_at(frame: Frame, selector: Any) -> Frame | None:
    element = frame.evaluate_handle(_ELEMENT, selector).as_element()
    return element.content_frame() if element else None


def _violation(one: dict[str, Any]) -> dict[str, Any]:
    targets = [_selector(target) for target in one["nodes"]]
    return {
        "rule": one["id"],
        "impact": one["impact"] or "minor",
        "help": one["help"],
        "help_url": one["helpUrl"],
        "elements": len(targets),
        "selectors": list(dict.fromkeys(targets))[:_MOST_SELECTORS],
    }


def _selector(target: Sequence[Any]) -> str:
    """Where an element is, frame by frame; values of attributes and long numbers may be personal, and are left out."""
    parts = (part if isinstance(part, str) else " >>> ".join(map(str, part)) for part in target)
    return _DIGITS.sub("…", _ATTRIBUTE.sub("", " | ".join(parts)))
