"""Load on the health record: visitors at its doors, clinicians at their work; it only reads.

Clinicians log in with the account that the gate passes on, such as RELEASEGATE_DEMO_CLINICIAN_EMAIL with
RELEASEGATE_DEMO_CLINICIAN_PASSWORD. A login that fails ends the whole run with code 3, because a load of login pages is
not the load that was asked for.
"""

from __future__ import annotations

import logging
import os
import re
from itertools import cycle
from typing import TYPE_CHECKING, Any, NoReturn

from locust import FastHttpUser, between, tag, task
from locust.exception import StopUser

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
CHART = re.compile(r'href="(/clients/\d+)"')
NO_LOGIN = 3


def passed(ending: str) -> str:
    """The one variable of an account that the gate passes on; empty without."""
    found = (value for name, value in os.environ.items() if name.startswith("RELEASEGATE_") and name.endswith(ending))
    return next(found, "")


class Reader(FastHttpUser):
    """Somebody who opens pages and reads them."""

    abstract = True
    wait_time = between(0.3, 1.0)

    def read(self, path: str, name: str = "") -> str:
        """Open a page; anything but 200 is a failure, a way back to the login page too."""
        given: dict[str, Any] = {"name": name or path, "allow_redirects": False, "catch_response": True}
        with self.client.get(path, **given) as answer:
            if answer.status_code != 200:
                answer.failure(f"answered {answer.status_code}")
            return answer.text or ""


class Visitor(Reader):
    """Somebody without an account."""

    @tag("public")
    @task
    def health(self) -> None:
        """Ask whether the record is well."""
        self.read("/healthz")

    @tag("public")
    @task
    def staff_door(self) -> None:
        """Look at the login page of the staff."""
        self.read("/auth")

    @tag("public")
    @task
    def portal_door(self) -> None:
        """Look at the login page of the clients."""
        self.read("/portal/login")


class Clinician(Reader):
    """A clinician who goes through the day."""

    charts: Iterator[str]

    def on_start(self) -> None:
        """Log in, and find the charts to open."""
        email, password = (passed(f"_CLINICIAN_{name}") for name in ("EMAIL", "PASSWORD"))
        if not (email and password):
            self.give_up("no RELEASEGATE_..._CLINICIAN_EMAIL or _PASSWORD is passed on: see `pass_env` of the gate")
        token = TOKEN.search(self.read("/auth"))
        if token is None:
            self.give_up("the login page has no csrf_token")
        form = {"email": email, "password": password, "csrf_token": token[1]}
        answer = self.client.post("/auth", data=form, name="/auth (login)", allow_redirects=False)
        if answer.status_code != 302:
            self.give_up(f"the login answered {answer.status_code} instead of 302")
        charts = CHART.findall(self.read("/clients"))
        if not charts:
            self.give_up("the list of clients names no chart")
        self.charts = cycle(charts)

    def give_up(self, why: str) -> NoReturn:
        """End the run, loudly."""
        logging.getLogger("locustfile").error("the clinician cannot work: %s", why)
        self.environment.process_exit_code = NO_LOGIN
        if self.environment.runner is not None:
            self.environment.runner.quit()
        raise StopUser

    @tag("records")
    @task(2)
    def dashboard(self) -> None:
        """See what today holds."""
        self.read("/dashboard")

    @tag("records")
    @task(2)
    def clients(self) -> None:
        """Look through the clients."""
        self.read("/clients")

    @tag("records")
    @task(4)
    def chart(self) -> None:
        """Read one chart."""
        self.read(next(self.charts), name="/clients/[id]")

    @tag("records")
    @task
    def notes(self) -> None:
        """Look through the notes."""
        self.read("/notes")

    @tag("records")
    @task
    def schedule(self) -> None:
        """See who comes this week."""
        self.read("/schedule")
