"""Questions to a page that end in bounded time, also where the page is busy for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Frame

__all__ = ["ask"]

AT_MOST_MS = 5_000
_POLL_MS = 50


def ask(frame: Frame, question: str, argument: Any = None, *, at_most: float | None = None) -> Any:
    """The answer of a function, or of its promise, in the frame; it must not be empty. Raises Playwright's `Error`.

    `evaluate` would wait for ever for a page that does not come to rest.
    """
    from playwright.sync_api import Error

    answer = frame.wait_for_function(_boxed(question), arg=argument, timeout=at_most or AT_MOST_MS, polling=_POLL_MS)
    try:
        told = answer.json_value()
    finally:
        answer.dispose()
    if isinstance(told, str):
        raise Error(told)
    return told[0]


def _boxed(question: str) -> str:
    """The function with its answer in a list, so that an empty answer is one too; what it throws is a text.

    Thrown, it would be heard as an error of the page.
    """
    return (
        f"async argument => {{ try {{ return [await ({question})(argument)] }} catch (why) {{ return `${{why}}` }} }}"
    )
