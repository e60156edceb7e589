"""What a line depends on, as a condition over the release's facts: `(if billing changes)`, `unless hotfix`."""

from __future__ import annotations

import re

from pytest_releasegate.checklist.markdown import words

__all__ = ["condition"]

_VAGUE = re.compile(
    r"\(?\b(?:if|when|where|as)\s+(?:required|applicable|needed|necessary|enabled|any|used|"
    r"relevant|appropriate|present|available|exists?)\b\)?",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"\((?P<word>if|when|unless|only if|only when|for|only for|skip if|not for)\s+(?P<what>[^()]{2,80})\)"
    r"|^(?P<word2>if|unless|when)\s+(?P<what2>[^,:()]{2,60})[,:]\s+\S"
    r"|[,;\u2013\u2014-]\s*(?P<word3>if|unless|skip if|only if)\s+(?P<what3>[^,;:()]{2,60})\.?$"
    r"|\s(?P<word4>if|unless)\s+(?P<what4>[^,;:()]{2,40})\.?$",
    re.IGNORECASE,
)
_FOR = re.compile(
    r"\b(?:changes?|releases?|updates?|deployments?|deploys?|hotfix(?:es)?|migrations?|upgrades?)(?: only)?$",
    re.IGNORECASE,
)
_NOT = ("unless", "skip if", "not for")
_CANNOT = re.compile(r"\b(?:fails?|failed|failing|errors?|goes wrong|issues?|problems?|possible|not)\b", re.IGNORECASE)


def condition(text: str) -> str:
    """The condition that a line names, empty without one; a vague one is named after the line itself."""
    shown = words.plain(text)
    vague = _VAGUE.search(shown)
    if vague:
        subject = re.sub(r"\([^()]*\)", " ", (shown[: vague.start()] + " " + shown[vague.end() :]))
        return words.fact(subject)
    found = _NAMED.search(shown)
    if not found:
        return ""
    word, what = _said(found)
    if _CANNOT.search(what) or (word.endswith("for") and not _FOR.search(what)):
        return ""
    return f"not {words.fact(what)}" if word in _NOT else words.fact(what)


def _said(found: re.Match[str]) -> tuple[str, str]:
    for end in ("", "2", "3", "4"):
        if found[f"word{end}"]:
            return found[f"word{end}"].lower(), re.sub(r"\s+only$", "", found[f"what{end}"].strip())
    raise AssertionError(found)  # one of the alternatives has matched
