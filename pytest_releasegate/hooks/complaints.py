"""What a browser complains of while a flow walks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_releasegate.check import find
from pytest_releasegate.hooks.pages import ask
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.striking import address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import (
        BrowserContext,
        ConsoleMessage,
        Dialog,
        Download,
        Page,
        Request,
        Response,
        WebError,
    )

    from pytest_releasegate.model import Finding

__all__ = ["Complaints"]

_ABORTED = ("net::ERR_ABORTED", "NS_BINDING_ABORTED", "cancelled")
_BLOCKED = "net::ERR_BLOCKED_BY_CLIENT"
"""`route.abort("blockedbyclient")`, or an extension that blocks: the product has no part in it."""
_MOST = 500
_LONGEST = 300
_KINDS = ("console errors", "uncaught page errors", "failed requests", "answers of 500 and above", "crashed pages")
_SHOWN = ("dialogs", "downloads", "requests blocked by the test", "answers given by a route of the test")
"""What no browser calls an error, and what a reader may want to know."""
_LOUD = {"error", "assert"}
_PARTS = {"script", "stylesheet"}
_NOT_FOUND, _BROKEN = 400, 500
_MOST_UNSENT = 100


class Complaints:
    """Listens to browser contexts until the flow is over; judges what it heard."""

    def __init__(self) -> None:
        self.pages = 0
        """How many pages the product has answered; until the end, those too that a route of the test has."""
        self._seen: dict[str, list[str]] = {kind: [] for kind in (*_KINDS, *_SHOWN)}
        self._tolerated: list[re.Pattern[str]] = []
        self._unsent: list[Response] = []
        self._deaf = ""
        self._over = False

    def watch(self, browser: BrowserContext) -> None:
        """Listen to a browser context."""
        browser.on("page", self._on_page)
        for page in browser.pages:
            self._on_page(page)
        browser.on("console", self._on_console)
        browser.on("weberror", self._on_error)
        browser.on("requestfailed", self._on_failed)
        browser.on("response", self._on_response)

    def tolerate(self, pattern: str) -> None:
        """Show what matches the regular expression, and do not judge it."""
        self._tolerated.append(re.compile(pattern))

    def let_in(self, page: Page) -> None:
        """Wait for what is on its way: it arrives before the answer to a question asked now."""
        from playwright.sync_api import Error

        try:
            ask(page.main_frame, "() => 1")
        except Error as why:
            self._deaf = "" if page.is_closed() or self._seen["crashed pages"] else str(why).splitlines()[0]

    def end(self, page: Page) -> None:
        """Let in what is on its way, and nothing after it."""
        self.let_in(page)
        for response in self._unsent[:_MOST_UNSENT]:
            self._on_unsent(response)
        self._over = True

    def heard(self) -> Iterator[str]:
        """All that was heard, as it is."""
        for texts in self._seen.values():
            yield from texts

    def that_count(self, kind: str) -> list[str]:
        """The complaints of a kind that count."""
        return [text for text in self._seen[kind] if not self._is_tolerated(text)]

    def findings(self, clean: Callable[[str], str]) -> Iterator[Finding]:
        """A finding for each kind of complaint, and one more where some were tolerated; `clean` takes secrets out."""
        for kind in _KINDS:
            texts = self.that_count(kind)
            actual = f"{len(texts)}: {clean(texts[0])}" if texts else "0"
            yield find(kind, expected="0", actual=actual, ok=not texts)
            rest = len(self._seen[kind]) - len(texts)
            if rest:
                yield find(f"{kind}, tolerated", expected="any", actual=rest, ok=True, observe=True)
        for kind in _SHOWN:
            if texts := self._seen[kind]:
                yield find(kind, expected="any", actual=f"{len(texts)}: {clean(texts[0])}", ok=True, observe=True)
        if self._deaf:
            actual = f"the page does not answer: {self._deaf}"
            yield find("complaints heard to the end", expected="yes", actual=actual, ok=Ok.CANNOT_TELL)

    def told(self, clean: Callable[[str], str]) -> dict[str, list[str]]:
        """All that was heard, for the record."""
        return {kind: [clean(text) for text in texts[:_MOST]] for kind, texts in self._seen.items()}

    def _is_tolerated(self, text: str) -> bool:
        return any(pattern.search(text) for pattern in self._tolerated)

    def _on_page(self, page: Page) -> None:
        page.on("crash", lambda crashed: self._note("crashed pages", address(crashed.url)))
        page.on("dialogclosed", self._on_dialog)
        page.on("download", self._on_download)

    def _on_dialog(self, dialog: Dialog) -> None:
        where = address(dialog.page.url) if dialog.page else "a page"
        self._note("dialogs", f"{dialog.type} on {where}")

    def _on_download(self, download: Download) -> None:
        self._note("downloads", address(download.url))

    def _on_unsent(self, response: Response) -> None:
        """Tell it where no server answered, but a route of the test."""
        from playwright.sync_api import Error

        try:
            if response.server_addr():
                return
        except Error:  # its page is gone
            return
        request = response.request
        self.pages -= _is_page(response)
        self._note("answers given by a route of the test", f"{request.method} {address(request.url)}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in _LOUD and _BLOCKED not in message.text:
            where = urlsplit(str(message.location.get("url", ""))).path
            self._note("console errors", f"{message.text} ({where})" if where else message.text)

    def _on_error(self, event: WebError) -> None:
        self._note("uncaught page errors", event.error.message)

    def _on_failed(self, request: Request) -> None:
        reason = request.failure or "no reason given"
        if not any(word in reason for word in _ABORTED):
            kind = "requests blocked by the test" if _BLOCKED in reason else "failed requests"
            self._note(kind, f"{request.method} {address(request.url)}: {reason}")

    def _on_response(self, response: Response) -> None:
        if self._over:
            return
        request, status = response.request, response.status
        self.pages += _is_page(response)
        if request.timing["requestStart"] < 0 and request.url.startswith("http") and not response.from_service_worker:
            self._unsent.append(response)
        if request.resource_type in _PARTS and _NOT_FOUND <= status < _BROKEN:
            self._note("failed requests", f"{request.method} {address(request.url)}: {status}")
        if status >= _BROKEN:
            self._note("answers of 500 and above", f"{request.method} {address(request.url)} {status}")

    def _note(self, kind: str, text: str) -> None:
        if not self._over:
            lines = text.strip().splitlines() or [""]
            self._seen[kind].append(lines[0][:_LONGEST])


def _is_page(response: Response) -> bool:
    """Whether it is one; a redirect is not yet."""
    return response.request.resource_type == "document" and not 300 <= response.status < 400
