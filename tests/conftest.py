"""Fixtures for all tests: scratch products, run in processes of their own."""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.store import open_store
from tests.zygote import Zygote

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_releasegate.model import Release, Result

pytest_plugins = ["pytester"]

ENVIRONMENTS = """
default: demo
product: ehr
environments:
  demo: {base_url: "http://127.0.0.1:9"}
  prod: {base_url: "https://ehr.example.com", protected: true}
"""

NOTES = "# Release notes\n\nWe did many useful things in this release.\n"

UNUSED = ("cacheprovider", "playwright", "locust", "allure_pytest", "hypothesispytest", "timeout", "platformdirs")
QUICK = [word for name in UNUSED for word in ("-p", f"no:{name}")]
"""Plugins that these runs do not use, and that would take most of their time to import."""


def missing_here(what: str) -> None:
    """Skip where a component is not installed; in CI it must be, but for servers that are named on purpose."""
    if os.environ.get("CI") and not os.environ.get("RELEASEGATE_PG_BIN"):
        pytest.fail(f"{what} is missing here; CI installs all that tests need")
    pytest.skip(f"{what} is missing here")


@dataclass
class Ran:
    """A finished pytest or releasegate process."""

    code: int
    out: str

    def has(self, *texts: str) -> bool:
        """Whether each text is in the output, whatever the line breaks and blanks."""
        flat = re.sub(r"\s+", " ", self.out)
        return all(re.sub(r"\s+", " ", text) in flat for text in texts)


@cache
def zygote() -> Zygote:
    """One for the whole session."""
    made = Zygote()
    atexit.register(made.close)
    return made


class Product:
    """A scratch product: a folder with gates, its record, and the commands that people run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "gates").mkdir(parents=True)
        self.write("gates/environments.yaml", ENVIRONMENTS)
        self.write("NOTES.md", NOTES)
        self.write("pytest.ini", "[pytest]\naddopts = --strict-markers\nreleasegate_release = 1.4.0\n")

    def write(self, name: str, text: str) -> Path:
        """Write a file of the product."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def gates(self, phase: str, *gates: str, name: str = "", head: str = "") -> None:
        """Write a gate file with one item; each gate is the inside of a YAML flow mapping."""
        lines = [
            f"phase: {phase}",
            *([head] if head else []),
            "items:",
            '  - item: "1"',
            "    title: An item",
            "    gates:",
        ]
        lines += [f"      - {{{gate}}}" for gate in gates]
        self.write(f"gates/{name or phase}.yaml", "\n".join(lines) + "\n")

    def pytest(self, *words: str, **variables: str) -> Ran:
        """Run pytest in the product."""
        return self._run("pytest", *QUICK, *words, **variables)

    def releasegate(self, *words: str, **variables: str) -> Ran:
        """Run the command in the product."""
        return self._run("pytest_releasegate.cli", *words, **variables)

    def results(self) -> list[Result]:
        """All results of the newest release of the record."""
        with open_store(f"sqlite:///{self.root / '.releasegate' / 'record.db'}", create=False) as store:
            return store.results(self.release().id)

    def release(self) -> Release:
        """The newest release of the record."""
        with open_store(f"sqlite:///{self.root / '.releasegate' / 'record.db'}", create=False) as store:
            return store.releases()[-1]

    def statuses(self) -> dict[str, str]:
        """The newest status of each gate with its case."""
        return {f"{result.gate} {result.case}".strip(): result.status.value for result in self.results()}

    def _run(self, module: str, *words: str, **variables: str) -> Ran:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "RELEASEGATE_"))
        }
        environment |= {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONWARNINGS": "", **variables}
        if not any(name.startswith("PYTHON") for name in variables):
            return Ran(*zygote().run(module, list(words), self.root, environment))
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ran(done.returncode, done.stdout + done.stderr)


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """A product with environments, release notes and no gates yet."""
    return Product(tmp_path / "ehr")
