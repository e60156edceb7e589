"""What an answer's headers and text are expected to hold."""

from __future__ import annotations

from html import unescape
from typing import TYPE_CHECKING

from pytest_releasegate.check import find
from pytest_releasegate.sources.htmlpages import is_html
from pytest_releasegate.sources.httpshown import heading
from pytest_releasegate.sources.text import fill, occurs

if TYPE_CHECKING:
    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["header_finding", "text_finding"]


def header_finding(name: str, expected: str | None, answer: Answer, context: Context) -> Finding:
    """What a header holds, compared with its whole value or one of its parts; None says that there must be none."""
    actual = answer.headers.get(name)
    shown_actual = heading(name, actual or "")
    if expected is None:
        actual_text = "absent" if actual is None else shown_actual
        return find(f"header {name}", expected="absent", actual=actual_text, ok=actual is None)
    wanted = fill(context.resolve(expected), context.release)
    parts = {part.strip() for part in (actual or "").replace(";", ",").split(",")}
    ok = actual is not None and (wanted == actual or wanted in parts)
    return find(f"header {name}", expected=wanted, actual="absent" if actual is None else shown_actual, ok=ok)


def text_finding(template: str, answer: Answer, context: Context, *, present: bool) -> Finding:
    """Whether a text stands in the body, as it is or as readers of the page see it."""
    resolved = context.resolve(template)
    spellings = [answer.text]
    if is_html(answer.text, answer.headers.get("Content-Type", "")):
        spellings.append(unescape(answer.text))
    ok = any(occurs(resolved, text, context.release) for text in spellings) is present
    words = "present", "absent"
    expected, opposite = words if present else words[::-1]
    name = f"text '{fill(resolved, context.release)}'"
    return find(name, expected=expected, actual=expected if ok else opposite, ok=ok)
