"""Phases and steps from headings: `T-24h`, clock words, and the words that teams use for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Timing", "mark", "phase_of", "step_of", "trigger_prefix"]

_UNIT = r"(?P<unit>m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?|d(?:ays?)?|w(?:eeks?)?)?\b"
_MARK = re.compile(rf"\b[TDL]\s?(?P<sign>[-+\u2212\u2013±])\s?(?P<amount>\d+)\s?-?\s?{_UNIT}", re.IGNORECASE)
_ZERO = re.compile(r"\b[TD]\s?[-+±]?\s?0\b", re.IGNORECASE)
_MINUTES = {"m": 1, "h": 60, "d": 24 * 60, "w": 7 * 24 * 60}
_LIVE = (
    r"(?:deploy\w*|releas\w*|launch\w*|go(?:ing)?[- ]live|live|production|prod|cut-?over|"
    r"roll-?out|merge|publish\w*|ship\w*|upgrad\w*|tag\w*|flight)"
)
_SPAN = r"(?:\d+|one|two|three|a|an|few)"

_WORDS: tuple[tuple[Phase, str], ...] = (
    (Phase.BACKFILL, r"back-?fill"),
    (Phase.ROLLBACK, r"回滚|roll(?:ed|ing)?[- ]?back|back-?out|revert(?:ing)?|contingency|\babort"),
    (
        Phase.REVIEW,
        rf"post-?mortem|retrospective|\bretro\b|lessons learned|post[- ]{_LIVE} review|post-implementation review"
        rf"|\b(?:first )?(?:week|month)s? (?:after|post)|after (?:the )?first (?:week|month)|"
        rf"\bweek \d|\bfirst (?:week|month)\b|\bdays? [2-9]\b",
    ),
    (
        Phase.DAY1,
        r"\bday (?:1|one)\b|\bnext day\b|\b(?:day|24 ?(?:h|hrs|hours)) (?:after|post)|first (?:24|"
        r"day)|24[- ]hours? post",
    ),
    (
        Phase.POSTDEPLOY,
        rf"(?:部署|上线|发布)后|nach (?:dem|der) {_LIVE}"
        rf"|\bpost[- ]?{_LIVE}|\bafter (?:(?:the|you|we|your|each|every) )?{_LIVE}|hypercare|first \d+ min"
        r"|\bsuccess (?:criteria|validation)"
        rf"|\b{_SPAN} (?:minutes?|hours?) (?:after|post)|\bonce (?:it is |it's )?(?:live|deployed)|"
        rf"^after\b|follow[- ]?up",
    ),
    (
        Phase.PREDEPLOY,
        rf"(?:部署|上线|发布|生产)前|\bvor (?:dem|der) {_LIVE}"
        rf"|\bpre[- ]?{_LIVE}|\bpre-?requisites?|\bbefore (?:(?:the|you|we|your|each|every) )?{_LIVE}"
        rf"|\b{_SPAN} (?:minutes?|hours?|days?|weeks?) (?:before|prior)|\bday before|prepar|planning|readiness|freeze"
        r"|go[/ -]?no[- ]?go|\bcandidate\b|^before\b|^pre\b|prior to",
    ),
    (Phase.COMPLIANCE, r"complian|hipaa|gdpr|\bsox\b|\bpci\b|soc ?2|regulatory|\blegal\b"),
    (
        Phase.DEPLOY,
        r"部署|上线|\bdeploy\w*|\breleas(?:e|ing)\b(?! (?:notes?|branch|manager|info|announce|version|plan|"
        r"coordinat|owner|team|date))"
        r"|\blaunch(?:ing)?\b(?! team)|\bgo(?:ing)?[- ]live|cut-?over|roll-?out|\bship(?:ping)?\b|\bpublish(?:ing)?\b"
        r"|\bupgrade\b|\bduring\b|\bexecution\b",
    ),
)
_PHASES = tuple((phase, re.compile(words, re.IGNORECASE)) for phase, words in _WORDS)
_CERTAIN = re.compile(r"\bphase|\bstage|\bday\b|\bwindow|\bT[- ]?0\b", re.IGNORECASE)

_BEFORE = re.compile(
    r"\bpre[- ]|\bpre(?:deploy|flight|requisite)|\bbefore\b|prepar|back-?up|"
    r"maintenance (?:mode|window)|window opened|announce",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"\bpost[- ]|\bpost(?:deploy|release|launch)|\bafter\b|verif|validat|smoke|health|monitor|"
    r"\bconfirm|sanity|dashboards?|maintenance mode (?:disabled|off|removed)|"
    r"disable maintenance",
    re.IGNORECASE,
)
_DECIDE = re.compile(
    r"deci[ds]|declar|criteria|approv|assess|when to|assembl|\bteam\b|notify the team|go/no-go", re.IGNORECASE
)
_VERIFY = re.compile(
    r"\bpost[- ]|verif|validat|\bconfirm|\bafter\b|communicat|post-?mortem|monitor|health|"
    r"smoke|recorded|\btested\b|\bcheck(?:ed)?\b|announce|review",
    re.IGNORECASE,
)
_STEPS: dict[Phase, tuple[tuple[str, re.Pattern[str]], ...]] = {
    Phase.DEPLOY: (
        ("before", re.compile(r"maintenance mode (?:enabled|on)", re.IGNORECASE)),
        ("after", re.compile(r"maintenance mode (?:disabled|off)", re.IGNORECASE)),
        ("before", _BEFORE),
        ("after", _AFTER),
    ),
    Phase.ROLLBACK: (("verify", re.compile(r"\bpost[- ]", re.IGNORECASE)), ("decide", _DECIDE), ("verify", _VERIFY)),
    Phase.BACKFILL: (("before", _BEFORE), ("after", _AFTER)),
}
_FOLLOWING = {
    Phase.DAY1: (Phase.POSTDEPLOY,),
    Phase.REVIEW: (Phase.POSTDEPLOY, Phase.DAY1),
    Phase.ROLLBACK: (Phase.DEPLOY, Phase.POSTDEPLOY, Phase.DAY1),
}
"""Phases that a heading may name under one of another phase."""
_DEFAULT = {Phase.DEPLOY: "migrate", Phase.ROLLBACK: "execute", Phase.BACKFILL: "during"}


@dataclass(frozen=True, slots=True)
class Timing:
    """The phase that a heading names; `certain`: the headings under it only name its steps; `clock`: named by time."""

    phase: Phase
    certain: bool = False
    clock: bool = False


def mark(text: str) -> int | None:
    """The minutes from the deployment that `T-24h`, `T+15 minutes`, `D-1` or `T-0` names; a bare `T-2` is hours."""
    found = _MARK.search(text)
    if found and int(found["amount"]) < 10_000:
        bare = "d" if found[0][0] in "DdLl" else "h"
        minutes = int(found["amount"]) * _MINUTES[(found["unit"] or bare)[0].lower()]
        return -minutes if found["sign"] in "-\u2212\u2013" else minutes
    return 0 if _ZERO.search(text) else None


def phase_of(path: Sequence[str], *, titled: bool = False) -> Timing | None:
    """The phase that the headings name, outermost first; None when none does.

    With `titled` the first is the document's title, which says little: most checklists are "release checklists".
    """
    timing: Timing | None = None
    for level, text in enumerate(path):
        named = _named(text, first=titled and level == 0)
        if named and (timing is None or _overrides(named, timing)):
            timing = named
    return timing


def step_of(phase: Phase, path: Sequence[str], item: str) -> str:
    """The step of the phase that the nearest heading names, else the item, else the one in which things are done."""
    rules = _STEPS.get(phase)
    if not rules:
        return ""
    for text in (*reversed(path), item):
        step = next((step for step, words in rules if words.search(text)), "")
        if step:
            return step
    return _DEFAULT[phase]


def trigger_prefix(path: Sequence[str]) -> tuple[str, Phase]:
    """How the ids of rollback triggers begin under these headings, and the phase in which they are watched."""
    for text in reversed(path):
        minutes = mark(text)
        if minutes is not None and minutes > 0:
            unit = minutes if minutes < 60 else minutes // 60
            return f"T{unit}", Phase.DAY1 if minutes >= 12 * 60 else Phase.POSTDEPLOY
    return "T", Phase.POSTDEPLOY


def _named(text: str, *, first: bool) -> Timing | None:
    minutes = mark(text)
    if minutes is not None:
        return Timing(_by_clock(minutes), certain=True, clock=True)
    phase = next((phase for phase, words in _PHASES if words.search(text)), None)
    if phase is None or (first and phase is Phase.DEPLOY):
        return None
    weak = phase is Phase.DEPLOY and not _CERTAIN.search(text)
    return Timing(phase, certain=not weak and not first)


def _by_clock(minutes: int) -> Phase:
    if minutes < 0:
        return Phase.PREDEPLOY
    if minutes == 0:
        return Phase.DEPLOY
    if minutes < 12 * 60:
        return Phase.POSTDEPLOY
    return Phase.DAY1 if minutes <= 36 * 60 else Phase.REVIEW


def _overrides(named: Timing, around: Timing) -> bool:
    """Whether a heading's phase counts against that of a heading above it."""
    if named.clock or not around.certain:
        return True
    return around.phase in _FOLLOWING.get(named.phase, ())
