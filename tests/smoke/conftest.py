"""Scratch products whose gates are browser flows, run in processes of their own, and one demo for them."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from releasegate_demo import control

from pytest_releasegate.store import open_store
from tests.conftest import zygote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from releasegate_demo.control import DemoInfo

    from pytest_releasegate.model import Result

SMOKE = Path(__file__).parents[2] / "smoke"
GATE = re.compile(r'@pytest\.mark\.gate\("([^"]+)"\)')
MADE = ("clients", "notes", "appointments", "payments", "messages")
VOID = {"clients": "status = 'discharged'", "notes": "status = 'signed'", "payments": "status = 'refunded'"}


@dataclass
class Scratch:
    """A product with a gate for each marked test under `smoke/`."""

    root: Path
    variables: dict[str, str]

    def prepare(self, environment: str, ini: str = "") -> None:
        """Write what is there beside the tests."""
        lines = ["phase: compliance", "topics: [smoke]", "items:", '  - {item: "1", title: Flows, gates: [']
        for gate, file in self.marked().items():
            trigger = ", trigger: true" if gate.startswith("T") else ""
            lines.append(f'    {{id: "{gate}", title: A flow, test: smoke/{file}{trigger}}},')
        (self.root / "gates").mkdir(exist_ok=True)
        (self.root / "gates" / "smoke.yaml").write_text("\n".join([*lines, "  ]}", ""]))
        (self.root / "gates" / "environments.yaml").write_text(f"environments:\n  demo: {{{environment}}}\n")
        ini = f"[pytest]\naddopts = --import-mode=importlib --strict-markers\nfilterwarnings = error\n{ini}\n"
        (self.root / "pytest.ini").write_text(ini)

    def marked(self) -> dict[str, str]:
        """The gates that tests bear, with the test's file."""
        files = sorted((self.root / "smoke").glob("test_*.py"))
        return {gate: path.name for path in files for gate in GATE.findall(path.read_text())}

    def run(self, *words: str, **variables: str) -> tuple[int, str]:
        """Run the flows; give the exit code and what pytest printed, in one line."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "RELEASEGATE_"))}
        words = ("-p", "no:cacheprovider", "--release", "1.4.0", "--env", "demo", *words)
        environment = {**kept, "COLUMNS": "200", "NO_COLOR": "1", **self.variables, **variables}
        code, out = zygote().run("pytest", list(words), self.root, environment, patience=300)
        return code, re.sub(r"\s+", " ", out)

    def results(self) -> dict[str, Result]:
        """The newest result of each gate."""
        with open_store(f"sqlite:///{self.root / '.releasegate' / 'record.db'}", create=False) as store:
            return {result.gate: result for result in store.results(store.releases()[-1].id)}

    def looks(self, gate: str) -> list[Result]:
        """Every result of the gate in the newest release, oldest first."""
        with open_store(f"sqlite:///{self.root / '.releasegate' / 'record.db'}", create=False) as store:
            return [result for result in store.results(store.releases()[-1].id) if result.gate == gate]

    def evidence(self, gate: str) -> dict[str, bytes]:
        """The evidence of a gate by name."""
        with open_store(f"sqlite:///{self.root / '.releasegate' / 'record.db'}", create=False) as store:
            return {one.name: store.evidence_body(one.sha256) or b"" for one in self.results()[gate].evidence}

    def wrong(self, gate: str) -> str:
        """What the gate found wrong, a line each."""
        return "\n".join(str(finding) for finding in self.results()[gate].findings if finding.ok != "yes")


@dataclass
class Ehr:
    """The smoke suite of this repository in a scratch product, and the demo that it walks through."""

    scratch: Scratch
    state: Path
    info: DemoInfo

    def made(self) -> int:
        """How many rows of the demo are marked by a flow and still of effect."""
        return sum(self._marked(table, f"not ({VOID.get(table, 'false')})") for table in MADE)

    def voided(self) -> dict[str, int]:
        """How many rows of the demo are marked by a flow and of no effect any more, by table."""
        return {table: self._marked(table, condition) for table, condition in VOID.items()}

    def _marked(self, table: str, condition: str) -> int:
        return self.one(f"select count(*) from public.{table} where test_run like 'rg-%' and {condition}")

    def one(self, query: str, *values: object) -> int:
        """The first column of the first row, asked as the superuser."""
        with psycopg.connect(self.info.super_dsn) as connection:
            row = connection.execute(query.encode(), values or None).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(scope="session")
def make_scratch() -> type[Scratch]:
    """What makes a product; as a fixture, since test modules cannot import this file."""
    return Scratch


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, DemoInfo]]:
    state = tmp_path_factory.mktemp("demo") / "state"
    yield state, control.up(state)
    control.down(state)


@pytest.fixture
def ehr(demo: tuple[Path, DemoInfo], tmp_path: Path) -> Iterator[Ehr]:
    state, info = demo
    scratch = Scratch(tmp_path / "ehr", info.environment())
    shutil.copytree(SMOKE, scratch.root / "smoke", ignore=shutil.ignore_patterns("__pycache__"))
    scratch.prepare('base_url: "${env:RELEASEGATE_DEMO_URL}", allow: [writes_through_app], watch: 1s')
    yield Ehr(scratch, state, info)
    control.heal(state)
