"""What the flows share: people who are signed in, and what one flow makes: clients, notes, payments, messages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING

import pytest
import requests

from pytest_releasegate.hooks.made import PREFIX, Forbidden, Kind, Thing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from pytest_releasegate.check import Context
    from pytest_releasegate.hooks.browser import Account, Flow
    from pytest_releasegate.hooks.made import Made

LOGIN = {"portal": "/portal/login"}
TIMEOUT_SECONDS = 15.0
MUST_STAY = 409
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')
ROW = re.compile(r'<tr data-id="(?P<id>\d+)">(?P<text>.*?)</tr>', re.DOTALL)
SLOT = re.compile(r'<a [^>]*data-id="(?P<id>\d+)"[^>]*>(?P<text>.*?)</a>', re.DOTALL)
BUBBLE = re.compile(r'<div class="bubble[^"]*" data-id="(?P<id>\d+)">(?P<text>.*?)</div>', re.DOTALL)
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
        if answer.status_code == MUST_STAY:
            raise Forbidden(path)
        assert answer.status_code in (200, 404), f"{path} answered {answer.status_code}"


@dataclass(frozen=True)
class Client:
    """A client that one flow made for itself."""

    id: str
    number: str
    name: str


@dataclass
class Practice:
    """The demo practice, as one flow sees it: who is signed in, and what the flow makes."""

    flow: Flow
    base_url: str
    made: Made
    desks: dict[str, Desk]

    @property
    def mark(self) -> str:
        """What is written on all that the flow makes."""
        return self.made.mark

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

    def new_client(self) -> Client:
        """A client for this flow alone, gone at its end with all that hangs on it."""
        self.will_make_a_client()
        staff = self.desk("clinician")
        staff.get("/clients/new")
        staff.post("/clients/new", first_name="Smoke Test", last_name=self.mark, date_of_birth="1990-01-01")
        (found,) = self._clients(q=self.flow.run)
        return _client(found)

    def will_make_a_client(self) -> None:
        """The client that the flow is about to make goes away at its end; payments and signed notes keep it."""
        self.made.will_be(Kind("clients", self._of_clients, self._remove_client, self._void_client))
        self.made.will_be(Kind("notes", self._of_notes))
        self.made.will_be(Kind("payments", self._of_payments))

    def will_book(self, path: str) -> None:
        """The flow is about to book on that page; the appointment goes away with its client."""
        self.made.will_be(Kind("appointments", lambda _text: self._things("clinician", SLOT, path)))

    def will_write_from_the_portal(self) -> None:
        """The flow is about to write as the client; what it has written is deleted."""
        self.made.will_be(Kind("messages", lambda _text: self._things("portal", BUBBLE, "/portal"), self._unsay))

    def _things(self, kind: str, pattern: re.Pattern[str], path: str) -> list[Thing]:
        return [Thing(key, text) for key, text in self.desk(kind).rows(pattern, path)]

    def _clients(self, **query: str) -> list[tuple[str, str]]:
        return self.desk("clinician").rows(ROW, "/clients", **query)

    def _of_clients(self, text: str) -> list[Thing]:
        """Those in care where all are asked for: the discharged ones of all times may be many."""
        found = self._clients(q=text, status="active" if text == PREFIX else "")
        return [Thing(key, row, voided="Discharged" in row) for key, row in found]

    def _of_notes(self, _text: str) -> list[Thing]:
        found = self.desk("clinician").rows(ROW, "/notes")
        return [Thing(key, row, voided="Signed" in row) for key, row in found]

    def _of_payments(self, text: str) -> list[Thing]:
        """Those of the clients that the flow has made; nothing else is written on them."""
        made = []
        for _, row in self._clients(q=text):
            payments = self.desk("billing").rows(ROW, "/payments", of=_number(row))
            made += [Thing(key, f"{text} {paid}", voided="Refunded" in paid) for key, paid in payments]
        return made

    def _remove_client(self, client: Thing) -> None:
        self.desk("clinician").remove(f"/clients/{client.key}/delete")

    def _void_client(self, client: Thing) -> None:
        """Refund what was paid, and discharge."""
        billing = self.desk("billing")
        for key, text in billing.rows(ROW, "/payments", of=_number(client.text)):
            if "Settled" in text:
                billing.remove(f"/payments/{key}/refund")
        self.desk("clinician").remove(f"/clients/{client.key}/discharge")

    def _unsay(self, message: Thing) -> None:
        self.desk("portal").remove(f"/portal/messages/{message.key}/delete")


def _client(row: tuple[str, str]) -> Client:
    key, text = row
    name = re.search(r'">([^<]+)</a>', text)
    assert name, f"client {key} has no name"
    last, _, first = name[1].partition(", ")
    return Client(key, _number(text), f"{first} {last}")


def _number(row: str) -> str:
    number = CLIENT_NUMBER.search(row)
    assert number, "a client without a number is listed"
    return number[0]


@pytest.fixture(scope="session")
def desks() -> Iterator[dict[str, Desk]]:
    """The accounts that are signed in, by kind."""
    signed_in: dict[str, Desk] = {}
    yield signed_in
    for desk in signed_in.values():
        desk.session.close()


@pytest.fixture
def practice(flow: Flow, base_url: str, made: Made, desks: dict[str, Desk], page: Page) -> Practice:
    """The practice, for one flow."""
    page.set_default_timeout(10_000)
    return Practice(flow, base_url, made, desks)


@pytest.fixture
def staff(practice: Practice, page: Page) -> Page:
    """The page, with a clinician signed in."""
    practice.enter("clinician", page)
    return page


@pytest.fixture
def portal_user(practice: Practice, page: Page) -> Page:
    """The page, with a client signed in to the portal."""
    practice.enter("portal", page)
    return page


@pytest.fixture
def client_for_test(practice: Practice) -> Client:
    """A marked client that only this flow knows, gone at its end."""
    return practice.new_client()


@pytest.fixture
def front_door(base_url: str, gate_context: Context) -> Iterator[Desk]:
    """The login form without a browser, and nobody signed in."""
    if not base_url:
        pytest.fail(f"no base URL for the environment '{gate_context.environment.name}'", pytrace=False)
    desk = Desk(base_url)
    yield desk
    desk.session.close()
