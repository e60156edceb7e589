"""How fast the pages of a flow were, in the measures of web.dev; shown by default, and judged where a test asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.check import find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.hooks.pages import ask
from pytest_releasegate.model import Ok
from pytest_releasegate.params import parse_duration
from pytest_releasegate.sources.striking import address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from pytest_releasegate.model import Finding

__all__ = ["Vitals"]


@dataclass(frozen=True, slots=True)
class _Measure:
    """One measure, with what web.dev calls good and poor; milliseconds, or a plain number."""

    name: str
    good: float
    poor: float
    unit: str = "ms"

    def told(self, value: float) -> str:
        """The value as people say it."""
        return f"{value:.0f}ms" if self.unit else f"{value:.3f}".rstrip("0").rstrip(".")


_MEASURES = {
    "lcp": _Measure("LCP (largest paint)", 2500, 4000),
    "cls": _Measure("CLS (layout shift)", 0.1, 0.25, ""),
    "ttfb": _Measure("TTFB (first byte)", 800, 1800),
    "fcp": _Measure("FCP (first paint)", 1800, 3000),
    "inp": _Measure("INP (interaction)", 200, 500),
}
_OPTIONAL = ("inp",)
"""A page that nobody touched has none, and says nothing by that."""
_PAINT_MS = 500
# what was seen so far comes with `buffered`; a shift counts in the worst burst: 1 s between two, 5 s in all
_READ = """async wait => {
  const seen = (type, wait, more) => new Promise(done => {
    const there = performance.getEntriesByType("navigation").length;
    if (!there || !PerformanceObserver.supportedEntryTypes.includes(type)) return done(null);
    const end = entries => { observer.disconnect(); done(entries); };
    const observer = new PerformanceObserver(list => end(list.getEntries()));
    observer.observe({type, buffered: true, ...more});
    const known = observer.takeRecords();
    if (known.length || !wait) return end(known);
    setTimeout(() => end([]), wait);
  });
  const [paints, shown] = await Promise.all([seen("paint", wait), seen("largest-contentful-paint", wait)]);
  const [shifts, events] = await Promise.all([seen("layout-shift", 0), seen("event", 0, {durationThreshold: 16})]);
  const navigation = performance.getEntriesByType("navigation")[0];
  let worst = 0, burst = 0, first = 0, last = 0;
  for (const one of (shifts ?? []).filter(one => !one.hadRecentInput)) {
    const goes_on = one.startTime - last < 1000 && one.startTime - first < 5000;
    burst = goes_on ? burst + one.value : one.value;
    if (!goes_on) first = one.startTime;
    last = one.startTime;
    worst = Math.max(worst, burst);
  }
  const touched = (events ?? []).filter(one => one.interactionId).map(one => one.duration);
  return {
    lcp: shown?.at(-1)?.startTime ?? null,
    cls: shifts ? worst : null,
    ttfb: navigation?.responseStart || null,
    fcp: paints?.find(one => one.name === "first-contentful-paint")?.startTime ?? null,
    inp: touched.length ? Math.max(...touched) : null,
  };
}"""


class Vitals:
    """Asks each page of a flow at the end of a step how fast it was; a flow has one of these."""

    name = "vitals.json"

    def __init__(self) -> None:
        self._pages: list[dict[str, Any]] = []
        self._limits: dict[str, float] = {}

    def expect(self, **limits: str | float) -> None:
        """Judge the worst page by these limits, such as `lcp="2.5s", cls=0.1`."""
        for key, limit in limits.items():
            if key not in _MEASURES:
                raise CannotLook(f"expects_vitals({key}=): no such measure", f"known: {', '.join(_MEASURES)}")
            self._limits[key] = _limit(key, limit)

    def see(self, page: Page, step: str, *, answers: bool) -> None:
        """Read what the page has measured so far, if it answers at all."""
        if page.url == "about:blank":
            return
        from playwright.sync_api import Error

        one: dict[str, Any] = {"step": step, "url": address(page.url)}
        try:
            one |= ask(page.main_frame, _READ, _PAINT_MS) if answers else {"why": "the page does not answer"}
        except Error as why:
            one["why"] = str(why).splitlines()[0][:200]
        self._pages.append(one)

    def findings(self) -> Iterator[Finding]:
        """A finding for each measure: the worst page of the flow."""
        if not self._pages and not self._limits:
            return
        for key, measure in _MEASURES.items():
            values = [(one[key], one["url"]) for one in self._pages if one.get(key) is not None]
            limit = self._limits.get(key)
            most, observe = measure.good if limit is None else limit, limit is None
            expected = f"<= {measure.told(most)}" + (f" (poor over {measure.told(measure.poor)})" if observe else "")
            if values:
                worst, where = max(values)
                of = "" if len(values) == 1 else f", the worst of {len(values)} looks"
                actual = f"{measure.told(worst)} at {where}{of}"
                yield find(measure.name, expected=expected, actual=actual, ok=worst <= most, observe=observe)
            elif not observe or key not in _OPTIONAL:
                actual = self._why()
                yield find(measure.name, expected=expected, actual=actual, ok=Ok.CANNOT_TELL, observe=observe)

    def told(self) -> dict[str, Any]:
        """All that was measured, for the record; milliseconds but for CLS."""
        return {"pages": self._pages} if self._pages else {}

    def _why(self) -> str:
        reasons = [str(one["why"]) for one in self._pages if "why" in one]
        return reasons[0] if reasons else "no page has measured it"


def _limit(key: str, limit: str | float) -> float:
    try:
        return parse_duration(limit).total_seconds() * 1000 if _MEASURES[key].unit else float(limit)
    except ValueError as wrong:
        raise CannotLook(f"expects_vitals({key}=): {wrong}", 'such as lcp="2.5s", or cls=0.1') from None
