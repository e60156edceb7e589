"""What a browser complains of while a flow walks."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_releasegate.check import find
from pytest_releasegate.sources.striking import address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response, WebError

    from pytest_releasegate.model import Finding

__all__ = ["Complaints"]

_ABORTED = ("net::ERR_ABORTED", "NS_BINDING_ABORTED", "cancelled")
_MOST = 500
_LONGEST = 300
_KINDS = ("console errors", "uncaught page errors", "failed requests", "answers of 500 and above")


class Complaints:
    """Listens to browser contexts until the flow is over; judges what it heard."""

    def __init__(self) -> None:
        self.pages = 0
        self._seen: dict[str, list[str]] = {kind: [] for kind in _KINDS}
        self._tolerated: list[re.Pattern[str]] = []
        self._over = False

    def watch(self, browser: BrowserContext) -> None:
        """Listen to a browser context."""
        browser.on("console", self._on_console)
        browser.on("weberror", self._on_error)
        browser.on("requestfailed", self._on_failed)
        browser.on("response", self._on_response)

    def tolerate(self, pattern: str) -> None:
        """Show what matches the regular expression, and do not judge it."""
        self._tolerated.append(re.compile(pattern))

    def end(self, page: Page) -> None:
        """Let in what is on its way, and nothing after it: it arrives before the answer to a question asked now."""
        from playwright.sync_api import Error

        with suppress(Error):
            page.evaluate("1")
        self._over = True

    def heard(self) -> Iterator[str]:
        """All that was heard, as it is."""
        for texts in self._seen.values():
            yield from texts

    def findings(self, clean: Callable[[str], str]) -> Iterator[Finding]:
        """A finding for each kind of complaint, and one more where some were tolerated; `clean` takes secrets out."""
        for kind in _KINDS:
            texts = [text for text in self._seen[kind] if not self._is_tolerated(text)]
            actual = f"{len(texts)}: {clean(texts[0])}" if texts else "0"
            yield find(kind, expected="0", actual=actual, ok=not texts)
            rest = len(self._seen[kind]) - len(texts)
            if rest:
                yield find(f"{kind}, tolerated", expected="any", actual=rest, ok=True, observe=True)

    def told(self, clean: Callable[[str], str]) -> dict[str, list[str]]:
        """All that was heard, for the record."""
        return {kind: [clean(text) for text in texts[:_MOST]] for kind, texts in self._seen.items()}

    def _is_tolerated(self, text: str) -> bool:
        return any(pattern.search(text) for pattern in self._tolerated)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            where = urlsplit(str(message.location.get("url", ""))).path
            self._note("console errors", f"{message.text} ({where})" if where else message.text)

    def _on_error(self, event: WebError) -> None:
        self._note("uncaught page errors", event.error.message)

    def _on_failed(self, request: Request) -> None:
        reason = request.failure or "no reason given"
        if not any(word in reason for word in _ABORTED):
            self._note("failed requests", f"{request.method} {address(request.url)}: {reason}")

    def _on_response(self, response: Response) -> None:
        if self._over:
            return
        request, status = response.request, response.status
        if request.resource_type == "document" and not 300 <= status < 400:  # a redirect is not yet a page
            self.pages += 1
        if status >= 500:
            self._note("answers of 500 and above", f"{request.method} {address(request.url)} {status}")

    def _note(self, kind: str, text: str) -> None:
        if not self._over:
            lines = text.strip().splitlines() or [""]
            self._seen[kind].append(lines[0][:_LONGEST])
