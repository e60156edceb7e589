"""Texts that pages show to their readers, or must not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.check import find
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.visible import holds, visible

if TYPE_CHECKING:
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["banner"]


def banner(name: str, text: str, answer: Answer, *, wanted: bool) -> Finding:
    """Whether readers of the page see the text, white space aside, as wanted or unwanted."""
    text = " ".join(text.split())
    shown = visible(answer.text, answer.headers.get("Content-Type", ""))
    expected = "visible" if wanted else "not visible"
    if not shown:
        return find(name, expected=expected, actual="a page without any text", ok=Ok.CANNOT_TELL)
    seen = holds(shown, text)
    actual = "visible" if seen else "not visible"
    if not seen and holds(answer.text, text):
        actual = "not visible: it stands in the page, hidden or in a script"
    return find(name, expected=expected, actual=expected if seen is wanted else actual, ok=seen is wanted)
