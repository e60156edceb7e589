"""What a line depends on, as a condition over the release's facts: `(if billing changes)`, `unless hotfix`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.markdown import words
from pytest_releasegate.phases import Phase

if TYPE_CHECKING:
    from pytest_releasegate.checklist.markdown.outline import Section

__all__ = ["condition", "heading_condition"]

_VAGUE = re.compile(
    r"\(?\b(?:if|when|where|as)\s+(?:required|applicable|needed|necessary|enabled|any|used|"
    r"relevant|appropriate|present|available|exists?|(?:configured|supported|desired|separate)(?=\W*$|\)))\b\)?",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"\((?P<word>if|when|unless|only if|only when|for|only for|skip if|not for)\s+(?P<what>[^()]{2,80})\)"
    r"|^(?P<word2>if|unless|when)\s+(?P<what2>[^,:()]{2,60})[,:]\s+\S"
    r"|[,;\u2013\u2014-]\s*(?P<word3>if|unless|skip if|only if)\s+(?P<what3>[^,;:()]{2,60})\.?$"
    r"|\s(?P<word4>if|unless)\s+(?P<what4>(?:[^,;:().]|\.(?=\w)){2,40})\.?$",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[,;:]\s|\.\s+\S")
_FOR = re.compile(
    r"\b(?:changes?|releases?|updates?|deployments?|deploys?|hotfix(?:es)?|migrations?|upgrades?)(?: only)?$",
    re.IGNORECASE,
)
_NOT = ("unless", "skip if", "not for")
_CANNOT = re.compile(
    r"\b(?:fails?|failed|failing|errors?|goes wrong|issues?|problems?|possible|not|\w+n['\u2019]t)\b",
    re.IGNORECASE,
)


def condition(text: str) -> str:
    """The condition that a line names, empty without one; a vague one is named after the line itself."""
    shown = words.plain(text)
    vague = _VAGUE.search(shown)
    if vague and _partly(shown, vague):
        return ""
    if vague:
        subject = re.sub(r"\([^()]*\)", " ", (shown[: vague.start()] + " " + shown[vague.end() :]))
        return words.fact(subject)
    found = _NAMED.search(shown)
    if not found:
        return ""
    word, what = _said(found)
    if found["word4"] and _CLAUSE.search(shown[: found.start()]):
        return ""
    if _CANNOT.search(what) or (word.endswith("for") and not _FOR.search(what)):
        return ""
    return f"not {words.fact(what)}" if word in _NOT else words.fact(what)


def heading_condition(section: Section) -> str:
    """The condition that a heading names; a rollback "if needed" has none, for its phase is the condition."""
    return "" if section.phase is Phase.ROLLBACK else condition(section.title)


def _partly(shown: str, vague: re.Match[str]) -> bool:
    """Whether the words depend on only a part of the line: the last of its clauses, or what a parenthesis adds."""
    before = shown[: vague.start()]
    if vague[0].startswith("("):
        return False
    return bool(_CLAUSE.search(before)) or before.count("(") > before.count(")")


def _said(found: re.Match[str]) -> tuple[str, str]:
    for end in ("", "2", "3", "4"):
        if found[f"word{end}"]:
            return found[f"word{end}"].lower(), re.sub(r"\s+only$", "", found[f"what{end}"].strip())
    raise AssertionError(found)  # one of the alternatives has matched
