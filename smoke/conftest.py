"""What the flows share: people who are signed in, clients made for one flow, and that nothing of it stays."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from pytest_releasegate.check import Context
    from pytest_releasegate.hooks.browser import Account, Flow
    from pytest_releasegate.hooks.fixtures import Finder

LOGIN = {"portal": "/portal/login"}
STALE = timedelta(minutes=10)
"""What is marked and older than this was left by a run that was killed."""
TIMEOUT_SECONDS = 15.0
HAS_PAYMENTS = 409
ROUNDS = 20
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')
ROW = re.compile(r'<tr data-id="(?P<id>\d+)">(?P<text>.*?)</tr>', re.DOTALL)
BUBBLE = re.compile(r'<div class="bubble[^"]*" data-id="(?P<id>\d+)">(?P<text>.*?)</div>', re.DOTALL)
MARK = re.compile(r"rg-[0-9a-f]{8} (\d{4}-\d\d-\d\d \d\d:\d\d)")
CLIENT_NUMBER = re.compile(r"C-\d{6}")


class Desk:
    """One account at work without a browser: for what a flow needs and does not test."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.session = requests.Session()
        self.session.trust_env = False
        self.token = ""

    def sign_in(self, path: str, account: Account) -> requests.Response:
        """Send the login form."""
        self.get(path)
        return self.post(path, email=account.email, password=account.password)

    def get(self, path: str, **query: str) -> requests.Response:
        """Load a page; its token goes with the next form."""
        answer = self.session.get(self.base_url + path, params=query, timeout=TIMEOUT_SECONDS)
        found = TOKEN.search(answer.text)
        self.token = found[1] if found else ""
        return answer

    def post(self, path: str, **fields: str) -> requests.Response:
        """Send a form."""
        data = {"csrf_token": self.token, **fields}
        answer = self.session.post(self.base_url + path, data=data, timeout=TIMEOUT_SECONDS)
        found = TOKEN.search(answer.text)
        self.token = found[1] if found else ""
        return answer

    def rows(self, pattern: re.Pattern[str], path: str, **query: str) -> list[tuple[str, str]]:
        """The id and the text of what a page lists."""
        answer = self.get(path, **query)
        assert answer.status_code == 200, f"{path} answered {answer.status_code}"
        return [(found["id"], unescape(found["text"])) for found in pattern.finditer(answer.text)]

    def remove(self, path: str) -> None:
        """Delete one thing; that it is gone already is as good."""
        answer = self.post(path)
        assert answer.status_code in (200, 404), f"{path} answered {answer.status_code}"


@dataclass(frozen=True)
class Client:
    """A client that one flow made for itself."""

    id: str
    number: str
    name: str


@dataclass
class Practice:
    """The demo practice, as one flow sees it: who is signed in, what the flow made, what is left of it."""

    flow: Flow
    base_url: str
    finding: Finder
    desks: dict[str, Desk]
    places: set[tuple[str, str]] = field(default_factory=set)
    """Where to ask for leftovers: kind of account and path."""

    @property
    def mark(self) -> str:
        """What is written on all that the flow makes; the time tells later runs what was left behind."""
        return f"{self.flow.run} {self.flow.context.clock.now().astimezone(UTC):%Y-%m-%d %H:%M}"

    def desk(self, kind: str) -> Desk:
        """The account of that kind, signed in once for all flows of this process."""
        if kind not in self.desks:
            desk = Desk(self.base_url)
            answer = desk.sign_in(LOGIN.get(kind, "/auth"), self.flow.account(kind))
            assert answer.status_code == 200, f"the {kind} account could not sign in: {answer.status_code}"
            self.desks[kind] = desk
        desk = self.desks[kind]
        desk.session.headers["X-Test-Run"] = self.flow.run
        return desk

    def enter(self, kind: str, page: Page) -> None:
        """Be signed in without the form, and mark what the browser makes."""
        for cookie in self.desk(kind).session.cookies:
            page.context.add_cookies([{"name": cookie.name, "value": cookie.value or "", "url": self.base_url}])
        page.context.set_extra_http_headers({"X-Test-Run": self.flow.run})

    def sign_in(self, kind: str, page: Page) -> None:
        """Fill in the login form and send it."""
        account = self.flow.account(kind)
        page.get_by_label("E-mail").fill(account.email)
        page.get_by_label("Password").fill(account.password)
        page.get_by_role("button", name="Sign in").click()

    def makes_data(self, *places: tuple[str, str]) -> None:
        """Say, before the first write, where nothing may stay; raises `CannotLook` where gates may not write."""
        self.flow.context.require_permission("writes_through_app", "a flow that makes data")
        if not self.places:
            self.flow.later(self._count_leftovers)
            self._sweep()
        self.places.update(places)

    def new_client(self) -> Client:
        """A client for this flow alone, removed at its end with all that hangs on it."""
        self.expect_client()
        staff = self.desk("clinician")
        staff.get("/clients/new")
        staff.post("/clients/new", first_name="Smoke Test", last_name=self.mark, date_of_birth="1990-01-01")
        (found,) = self._clients(self.flow.run)
        return found

    def expect_client(self) -> None:
        """The client that the flow is about to make goes away at its end."""
        self.makes_data(("clinician", "/notes"))
        self.flow.later(lambda: [self._remove(client) for client in self._clients(self.flow.run)])

    def _clients(self, query: str) -> list[Client]:
        found = []
        for key, text in self.desk("clinician").rows(ROW, "/clients", q=query):
            number, name = CLIENT_NUMBER.search(text), re.search(r'">([^<]+)</a>', text)
            assert number, f"client {key} has no number"
            assert name, f"client {key} has no name"
            last, _, first = name[1].partition(", ")
            found.append(Client(key, number[0], f"{first} {last}"))
        return found

    def _remove(self, client: Client) -> None:
        path, staff = f"/clients/{client.id}/delete", self.desk("clinician")
        if staff.post(path).status_code == HAS_PAYMENTS:
            self._remove_payments(client)
            staff.remove(path)

    def _remove_payments(self, client: Client) -> None:
        billing = self.desk("billing")
        for key, text in billing.rows(ROW, "/payments"):
            if client.number in text:
                billing.remove(f"/payments/{key}/delete")

    def remove_messages(self, stale: bool = False) -> None:
        """Remove what the portal account wrote in this flow, or what older flows left."""
        portal = self.desk("portal")
        for key, text in portal.rows(BUBBLE, "/portal"):
            if self._is_stale(text) if stale else self.flow.run in text:
                portal.remove(f"/portal/messages/{key}/delete")

    def _sweep(self) -> None:
        """Remove what runs that were killed have left."""
        swept = 0
        for _ in range(ROUNDS):
            stale = [client for client in self._clients("rg-") if self._is_stale(client.name)]
            if not stale:
                break
            for client in stale:
                self._remove(client)
            swept += len(stale)
        self.finding("clients of killed runs, removed", expected="any", actual=swept, ok=True, observe=True)

    def _is_stale(self, text: str) -> bool:
        mark = MARK.search(text)
        if mark is None:
            return False
        made = datetime.strptime(mark[1], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
        return self.flow.context.clock.now() - made > STALE

    def _count_leftovers(self) -> None:
        left = len(self._clients(self.flow.run))
        for kind, path in sorted(self.places):
            left += self.desk(kind).get(path).text.count(self.flow.run)
        self.finding("left behind", expected=0, actual=left, ok=left == 0)


@pytest.fixture(scope="session")
def desks() -> Iterator[dict[str, Desk]]:
    """The accounts that are signed in, by kind."""
    signed_in: dict[str, Desk] = {}
    yield signed_in
    for desk in signed_in.values():
        desk.session.close()


@pytest.fixture
def practice(flow: Flow, base_url: str, finding: Finder, desks: dict[str, Desk], page: Page) -> Practice:
    """The practice, for one flow."""
    page.set_default_timeout(10_000)
    return Practice(flow, base_url, finding, desks)


@pytest.fixture
def front_door(base_url: str, gate_context: Context) -> Iterator[Desk]:
    """The login form without a browser, and nobody signed in."""
    if not base_url:
        pytest.fail(f"no base URL for the environment '{gate_context.environment.name}'", pytrace=False)
    desk = Desk(base_url)
    yield desk
    desk.session.close()
