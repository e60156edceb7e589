"""One demo for the session (for the worker, under xdist), and people who are logged in to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import requests
from psycopg.types.json import Json
from releasegate_demo import control
from releasegate_demo.traffic import login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from releasegate_demo.control import DemoInfo

TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')


class Visitor:
    """A browser without a screen: keeps cookies, sends the token of the forms, marks what it makes."""

    def __init__(self, info: DemoInfo) -> None:
        self.info = info
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["X-Test-Run"] = "tests"

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.info.base_url + path, timeout=20, **options)

    def post(self, path: str, follow: bool = True, **fields: str) -> requests.Response:
        token = TOKEN.search(self.get("/auth" if path == "/auth" else "/portal/login").text)
        data = {"csrf_token": token.group(1) if token else "", **fields}
        return self.session.post(self.info.base_url + path, data=data, timeout=20, allow_redirects=follow)

    def login(self, kind: str) -> bool:
        path = "/portal/login" if kind == "portal" else "/auth"
        return login(self.session, self.info.base_url, path, self.info.credentials()[kind])


@dataclass(frozen=True)
class Demo:
    """The running demo with its state folder."""

    state: Path
    info: DemoInfo

    def one(self, query: str, *values: object, dsn: str | None = None) -> Any:
        """Return the first column of the first row, as the superuser unless told."""
        with psycopg.connect(dsn or self.info.super_dsn) as connection:
            row = connection.execute(query.encode(), values or None).fetchone()
        return None if row is None else row[0]

    def count_as(self, kind: str | None, query: str) -> Any:
        """Run a query as the application would for that person; None is the role `anon`."""
        with psycopg.connect(self.info.app_dsn) as connection:
            claims = {"sub": str(self.id_of(kind)), "role": "authenticated"} if kind else {}
            role = "authenticated" if kind else "anon"
            values = [role, Json(claims)]
            connection.execute(
                "select set_config('role', %s, true), set_config('request.jwt.claims', %s::text, true)", values
            )
            row = connection.execute(query.encode()).fetchone()
            connection.rollback()
        return row[0] if row else None

    def id_of(self, kind: str) -> Any:
        return self.one("select id from auth.users where email = %s", self.info.credentials()[kind]["email"])

    def log(self) -> str:
        return Path(self.info.log).read_text()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    state = tmp_path_factory.mktemp("demo") / "state"
    info = control.up(state)
    yield Demo(state, info)
    control.down(state)
    assert not state.exists()


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "demo" in request.fixturenames:
        control.heal(request.getfixturevalue("demo").state)


@pytest.fixture
def visit(demo: Demo) -> Iterator[Callable[[str | None], Visitor]]:
    """Return a maker of visitors, logged in as `clinician`, `admin`, `billing`, `portal`, or not at all."""
    made: list[Visitor] = []

    def make(kind: str | None = None) -> Visitor:
        made.append(Visitor(demo.info))
        if kind is not None:
            assert made[-1].login(kind)
        return made[-1]

    yield make
    for visitor in made:
        visitor.session.close()
