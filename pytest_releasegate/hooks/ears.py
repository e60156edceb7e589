"""What listens to the browser for a flow, from before the fixture `flow` is there: other fixtures open pages too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_releasegate.hooks.complaints import Complaints
from pytest_releasegate.hooks.traffic import Traffic

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

__all__ = ["Ears"]


class Ears:
    """Listens to the contexts of one test after the other."""

    def __init__(self) -> None:
        self.begin(listening=False)

    def begin(self, *, listening: bool) -> None:
        """Forget what was heard: another test begins."""
        self.listening = listening
        self.complaints = Complaints()
        self.traffic = Traffic()
        self.contexts: list[BrowserContext] = []

    def watch(self, browser: BrowserContext) -> None:
        """Listen to a browser context, once."""
        if self.listening and browser not in self.contexts:
            self.contexts.append(browser)
            self.complaints.watch(browser)
            self.traffic.watch(browser)
