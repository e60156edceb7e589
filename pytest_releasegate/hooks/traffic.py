"""What a browser asked for while a flow walked, for its HTTP archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pytest_releasegate.sources.har import MOST_ENTRIES, Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import BrowserContext, Request, Response

__all__ = ["Traffic"]


class Traffic:
    """Listens to browser contexts, and never asks the browser back: that would take time at each request."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.count = 0
        self._open: dict[Request, Exchange] = {}

    def watch(self, browser: BrowserContext) -> None:
        """Listen to a browser context."""
        browser.on("request", self._on_request)
        browser.on("response", self._on_response)
        browser.on("requestfinished", self._on_finished)
        browser.on("requestfailed", self._on_failed)

    def heard(self) -> Iterator[str]:
        """Every text that an archive could hold, as it is."""
        for exchange in self.exchanges:
            yield from (exchange.url, exchange.status_text, exchange.failure, *(exchange.headers or {}).values())

    def _on_request(self, request: Request) -> None:
        self.count += 1
        if len(self.exchanges) == MOST_ENTRIES:
            return
        sent = len(request.post_data_buffer or b"")
        self._open[request] = Exchange(request.method, request.url, request.resource_type, sent)
        self.exchanges.append(self._open[request])

    def _on_response(self, response: Response) -> None:
        exchange = self._open.get(response.request)
        if exchange:
            exchange.status, exchange.status_text = response.status, response.status_text
            exchange.headers = {name.lower(): value for name, value in response.headers.items()}

    def _on_finished(self, request: Request) -> None:
        exchange = self._open.pop(request, None)
        if exchange:
            exchange.timing = cast("Mapping[str, float]", request.timing)

    def _on_failed(self, request: Request) -> None:
        exchange = self._open.get(request)
        if exchange:
            exchange.failure = request.failure or "no reason given"
        self._on_finished(request)
