"""One walk through the product in a browser: steps, pictures, and what to remove afterwards."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from pytest_releasegate.check import Secrets, counted
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.hooks.accessibility import Accessibility
from pytest_releasegate.hooks.ears import Ears
from pytest_releasegate.hooks.keeping import Keeper
from pytest_releasegate.hooks.payments import payment_method
from pytest_releasegate.hooks.vitals import Vitals
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.har import archive
from pytest_releasegate.sources.striking import Striker
from pytest_releasegate.sources.tracefinds import is_session_like

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from playwright.sync_api import BrowserContext, Page

    from pytest_releasegate.check import Context
    from pytest_releasegate.hooks.fixtures import Finder
    from pytest_releasegate.model import Finding

__all__ = ["FLOW", "Account", "Flow"]

_PASSWORDS = "input[type=password], [autocomplete=current-password], [autocomplete=new-password]"
_MASK = "#5b6b6c"
_SETTLED_MS = 5_000
_LONGEST = 300
_LONG_COOKIE = 16
"""Shorter ones, such as a language or a number, may stand in a message by chance."""
_PLACES = Striker(Secrets({}))
"""Strikes out what is a secret by its place, such as a value in an address."""


@dataclass(frozen=True, slots=True)
class Account:
    """A test account of the product."""

    email: str
    password: str = field(repr=False)


class Flow:
    """One walk through the product: steps, pictures, complaints of the browser, and what to remove afterwards."""

    def __init__(
        self,
        page: Page,
        context: Context,
        finding: Finder,
        accessibility: Accessibility | None = None,
        ears: Ears | None = None,
    ) -> None:
        self.page = page
        self.context = context
        self.finding = finding
        self.run = f"rg-{uuid4().hex[:8]}"
        """The mark of whatever this flow makes."""
        self._steps = 0
        self.keeper = Keeper(context)
        """What takes evidence, as much as there is room for."""
        self.private: dict[str, str] = {}
        """Values that may let somebody in, with what each is: struck out of all evidence."""
        self._ears = ears or Ears()
        if not self._ears.listening:
            self._ears.begin(listening=True)
        self._complaints, self._traffic = self._ears.complaints, self._ears.traffic
        self._vitals = Vitals()
        self._accessibility = accessibility or Accessibility(None, "off")
        self._passwords: list[str] = []
        self._hidden = [_PASSWORDS]
        self._cleaning: list[Callable[[], object]] = []
        self._over = False
        self.watch(page.context)
        if page.context.browser:
            page.context.browser.on("context", self.watch)

    @contextmanager
    def step(self, title: str, page: Page | None = None) -> Iterator[None]:
        """One step, named as a person would say it; a picture of the page is taken when it ends, also when it fails."""
        self._steps += 1
        name, picture = f"step {self._steps}, {title}", f"{self._steps:02}-{_slug(title)}"
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            ok = Ok.CANNOT_TELL if isinstance(error, CannotLook) else Ok.NO
            self.finding(name, expected="done", actual=_told(error), ok=ok)
            self._picture(page or self.page, f"{picture}-failed.png", needed=True)
            raise
        self.finding(name, expected="done", actual="done", ok=True)
        shown = self._picture(page or self.page, f"{picture}.png")
        for looker in (self._vitals, self._accessibility):
            looker.see(page or self.page, title, answers=shown)

    def account(self, kind: str) -> Account:
        """The test account of that kind, from `RELEASEGATE_<ENVIRONMENT>_<KIND>_EMAIL` and `..._PASSWORD`.

        A hyphen in the environment's name is an underscore there.
        Raises `CannotLook` when one is unset.
        """
        __tracebackhide__ = True
        prefix = f"RELEASEGATE_{self.context.environment.name}_{kind}".upper().replace("-", "_")
        email = self.context.secrets.resolve(f"${{env:{prefix}_EMAIL}}", secret=False)
        password = self.context.resolve(f"${{env:{prefix}_PASSWORD}}")
        self._passwords.append(password)
        return Account(email, password)

    def payment_method(self, otherwise: str) -> str:
        """What to pay with: the environment's `payment_method`, else `otherwise` where payments are in test mode.

        Where they are live and none is declared the gate is inconclusive, and the test ends here.
        """
        method = payment_method(self.context, self.finding, otherwise)
        if method != self.context.secrets.scrub(method):  # it came by reference: not in the pictures either
            self._passwords.append(method)
        return method

    def later(self, clean_up: Callable[[], object]) -> None:
        """Call this when the flow is over, also when it failed; the last one first. What it raises is a finding."""
        self._cleaning.append(clean_up)

    def complaints(self, kind: str = "console errors") -> list[str]:
        """What the browser has complained of so far, but for what is tolerated; it is judged when the flow is over."""
        self._complaints.let_in(self.page)
        return self._complaints.that_count(kind)

    def tolerate(self, pattern: str) -> None:
        """Show complaints of the browser that match the regular expression, and do not judge them."""
        self._complaints.tolerate(pattern)

    def accessible(self, below: str, without: Iterable[str] = ()) -> None:
        """Judge what axe finds: nothing of that impact or worse, such as `serious`, but for the rules left out."""
        self._accessibility.judge(below, without)

    def expects_vitals(self, **limits: str | float) -> None:
        """Judge how fast the worst page was, such as `lcp="2.5s"`, `cls=0.1`, `ttfb`, `fcp`, `inp`."""
        self._vitals.expect(**limits)

    @property
    def hides(self) -> bool:
        """Whether it hides more than what always is."""
        return len(self._hidden) > 1

    def hide(self, selector: str) -> None:
        """Blot out what matches the CSS selector in the pictures from now on; fields for passwords always are.

        A trace of the flow then holds no pages, since nothing can be blotted out of them.
        """
        self._hidden.append(selector)

    def watch(self, browser: BrowserContext) -> None:
        """Listen to a browser context; that of `page`, and those that its browser opens meanwhile, always are."""
        if not self._over:
            self._ears.watch(browser)

    def finish(self) -> None:
        """Judge what was seen and clean up; called by the plugin, and a second call does nothing."""
        if self._over:
            return
        self._over = True
        self._complaints.end(self.page)
        if self.page.context.browser:
            self.page.context.browser.remove_listener("context", self.watch)
        looked = (counted("steps", self._steps), counted("pages", self._complaints.pages))
        self._remember_cookies()
        heard = [*self._complaints.heard(), *self._traffic.heard()]
        striker = Striker(self.context.secrets, self.private, within=["\n".join(heard)])
        self._tell(*looked, *self._complaints.findings(striker.text))
        for looker in (self._accessibility, self._vitals):
            self._tell(*looker.findings())
            if told := looker.told():
                self.keep(looker.name, told, needed=False)
        self._clean_up()
        self.keep("browser.json", self._complaints.told(striker.text))
        self.keep("flow.har", archive(self._traffic.exchanges, self._traffic.count, striker))

    def keep(self, name: str, value: object, *, needed: bool = True) -> None:
        """Keep a JSON value as evidence; what is needed to tell why a gate failed is kept longest."""
        self.keeper.keep(name, "application/json", json.dumps(value, indent=1).encode(), needed=needed)

    def _remember_cookies(self) -> None:
        """What must not be told of the session; again after each step, since signing out takes it away."""
        from playwright.sync_api import Error

        for browser in self._ears.contexts:
            with suppress(Error):
                for cookie in browser.cookies():
                    value, name = cookie.get("value", ""), f"cookie:{cookie.get('name')}"
                    if is_session_like(value):
                        self.private[value] = name
                        if len(value) >= _LONG_COOKIE:  # messages of the test are not ours to strike
                            self.context.secrets.add(value, name)

    def _tell(self, *findings: Finding) -> None:
        for one in findings:
            self.finding(one.name, expected=one.expected, actual=one.actual, ok=one.ok, observe=one.observe)

    def _clean_up(self) -> None:
        done = 0
        for clean_up in reversed(self._cleaning):
            try:
                clean_up()
            except (Exception, pytest.fail.Exception) as error:  # the others still have to be called
                self.finding("clean-up", expected="done", actual=_told(error), ok=False)
            else:
                done += 1
        if done:
            self.finding("clean-ups", expected=len(self._cleaning), actual=done, ok=done == len(self._cleaning))

    def _picture(self, page: Page, name: str, *, needed: bool = False) -> bool:
        from playwright.sync_api import Error

        self._remember_cookies()
        try:
            with suppress(Error):
                page.wait_for_load_state("load", timeout=_SETTLED_MS)
            hidden = [frame.locator(selector) for frame in page.frames for selector in self._hidden]
            hidden += [frame.get_by_text(password) for frame in page.frames for password in self._passwords]
            body = page.screenshot(mask=hidden, mask_color=_MASK, animations="disabled", timeout=_SETTLED_MS)
        except Error as error:
            self.finding(f"picture {name}", expected="taken", actual=_told(error), ok=Ok.CANNOT_TELL)
            return False
        self.keeper.keep(name, "image/png", body, needed=needed)
        return True


FLOW = pytest.StashKey[Flow]()
"""The flow of a test, until it is judged."""


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60]


def _told(error: BaseException) -> str:
    """An error in one line; of Playwright's: what was expected, what was there, and what it waited for."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    wanted = [line for line in lines[1:] if line.startswith(("Actual value:", "Received:", "Error:"))]
    waited = next((line.lstrip("- ") for line in lines if line.startswith("- waiting for")), "")
    told = "; ".join(dict.fromkeys([lines[0], *wanted, *([waited] if waited else [])]))
    return _PLACES.text(told)[:_LONGEST]
