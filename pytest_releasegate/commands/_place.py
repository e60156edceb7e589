"""What commands share: the root, the settings, the record, the release that is meant."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from argparse import SUPPRESS, ArgumentTypeError
from configparser import ConfigParser, Error
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_releasegate.checklist.loader import Checklist, load, without_gates
from pytest_releasegate.checklist.marked import with_marked
from pytest_releasegate.checklist.plan import freeze
from pytest_releasegate.checklist.python_gates import collect
from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.lifecycle.facts import parse_instant
from pytest_releasegate.lifecycle.fleet import identities, is_several
from pytest_releasegate.lifecycle.identify import Asked, Identity, identify, record_at
from pytest_releasegate.lifecycle.opening import person
from pytest_releasegate.lifecycle.products import below
from pytest_releasegate.report.view import view

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from pytest_releasegate.checklist.environments import Environments
    from pytest_releasegate.model import Plan, Release
    from pytest_releasegate.report.view import ReleaseView
    from pytest_releasegate.store import Store

__all__ = ["Place", "arguments", "as_of", "attempt", "config_file", "place", "places", "say", "use_color", "width"]


_MOST_ATTEMPTS = 9999
_CONFIG_FILES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")


@dataclass(frozen=True)
class Place:
    """The product that a command is about."""

    root: Path
    settings: dict[str, Any]
    checklist: Checklist
    identity: Identity
    open: Callable[[], Store]

    @cached_property
    def store(self) -> Store:
        """The record, opened when first asked for; raises `RecordError` when it cannot be."""
        return self.open()

    def plan(self) -> Plan:
        """The plan of what is declared now."""
        paths = self.settings.get("releasegate_paths", ["gates", "smoke", "load"])
        paths = paths.split() if isinstance(paths, str) else paths
        cache = self.root / ".releasegate" / "cases.json"
        declared = self.checklist.has_tests
        python = collect(self.root, paths, cache, config_file(self.root), declared=declared)
        checklist = with_marked(self.checklist, python, self.root)
        return freeze(checklist, python, self.identity.environment.name)

    @property
    def zone(self) -> str:
        """The zone of instants without offset; empty where none is configured."""
        return str(self.settings.get("releasegate_zone", ""))

    def release(self, version: str = "", attempt: int | None = None) -> Release:
        """The release of the record that is meant, or another of its environment by its version: its newest attempt.

        Raises `UsageProblem` when the record does not know it.
        """
        identity = self.identity
        version = version or identity.version
        found = self.store.find_release(identity.product, version, identity.environment.name, attempt)
        if found is None:
            known = ", ".join(release.name for release in self.store.releases(identity.product)[-5:])
            one = f" attempt {attempt}" if attempt is not None else ""
            what = f"{self.store.shown_url} does not know {version}/{identity.environment.name}{one}"
            raise UsageProblem(what, f"it knows: {known}" if known else "releasegate open VERSION")
        return found

    def view(self, asked: argparse.Namespace) -> ReleaseView:
        """The release as the record knows it, now or at the instant of `--as-of`."""
        release = self.release(attempt=asked.attempt)
        if not asked.as_of:
            return view(self.store, release, asked.clock.now())
        at = parse_instant(asked.as_of, self.zone)
        if at < release.opened_at:
            raise UsageProblem(f"--as-of: {release.name} was opened later, at {release.opened_at.isoformat()}")
        return view(self.store, release, at, strictly=True)

    def note(self, release: Release, at: datetime, action: str, what: str) -> None:
        """Leave a line in the record's own audit log: who has done what to the release."""
        self.store.add_audit(
            at=at,
            release_id=release.id,
            user_id=person(self.root),
            action_type=action,
            resource_type="release",
            action_description=what,
            severity="critical",
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options by which every command finds its release."""
    parser.add_argument("--release", default="", metavar="VERSION", help="the release that is meant")
    parser.add_argument("--env", default="", metavar="NAME", help="the environment that is meant")
    parser.add_argument("--record", default="", metavar="URL", help="where the record lies")
    # the command itself takes it too, and must not be overwritten with nothing
    parser.add_argument("--root", default=SUPPRESS, metavar="FOLDER", help="the folder that holds gates/")


def attempt(text: str) -> int:
    """The number of an attempt, for argparse."""
    if not text.isdecimal() or not 1 <= int(text[:9]) <= _MOST_ATTEMPTS:
        raise ArgumentTypeError(f"expected a number from 1 to {_MOST_ATTEMPTS}, got '{text}'")
    return int(text)


def as_of(parser: argparse.ArgumentParser) -> None:
    """The options by which a command reads an earlier attempt, or the record at another time."""
    parser.add_argument(
        "--attempt", type=attempt, metavar="N", help="that attempt of the release; the newest without it"
    )
    text = "judge the record as of then, such as 2026-03-01T02:00:00Z; plan and facts are those of now"
    parser.add_argument("--as-of", default="", metavar="INSTANT", help=text)


def place(asked: argparse.Namespace, *, create: bool = False, gates: bool = True) -> Place:
    """Find all of it; raises `UsageProblem` with what is wrong; gate files that are not asked for are not read."""
    return _places(asked, lambda *known: [identify(*known)], create=create, gates=gates)[0]


def places(asked: argparse.Namespace) -> list[Place]:
    """The same for each target, where `--env` names several."""
    return _places(asked, identities)


def _places(
    asked: argparse.Namespace,
    identify_all: Callable[[Path, Environments, Asked], list[Identity]],
    *,
    create: bool = False,
    gates: bool = True,
) -> list[Place]:
    from pytest_releasegate.store import open_store

    root = _root(asked.root)
    settings = _settings(root)
    folder = root / str(settings.get("releasegate_gates", "gates"))
    checklist = load(folder, root) if gates else without_gates(folder, root)
    base_url = os.environ.get("PYTEST_BASE_URL") or str(settings.get("base_url", ""))
    said = Asked(
        release=asked.release,
        environment=asked.env,
        base_url="" if asked.env and is_several(checklist.environments, base_url) else base_url,
        ini_release=str(settings.get("releasegate_release", "")),
        ini_environment=str(settings.get("releasegate_env", "")),
        commit=getattr(asked, "commit", ""),
        branch=getattr(asked, "branch", ""),
    )
    url = record_at(root, asked.record, str(settings.get("releasegate_record", "")))
    store = partial(open_store, url, create=create, clock=asked.clock)
    found = identify_all(root, checklist.environments, said)
    return [Place(root, settings, checklist, identity, store) for identity in found]


def say(*lines: str) -> None:
    """Print lines."""
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")


def width() -> int:
    """The terminal's width in columns."""
    return shutil.get_terminal_size((80, 24)).columns


def use_color() -> bool:
    """Whether to print in colour."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _root(said: str) -> Path:
    start = Path(said or ".").resolve()
    for folder in [start] if said else _upward(start):
        if (folder / "gates").is_dir() or "releasegate_gates" in _settings(folder):
            return folder
    products = ", ".join(below(start))
    raise UsageProblem(
        f"no gates/ folder in {start}" + ("" if said else " or above"),
        f"{products}: go there, or --root FOLDER" if products else "go to the product's folder, or --root",
    )


def _upward(start: Path) -> Iterator[Path]:
    """The folder and those above it, up to the top of its repository."""
    for folder in (start, *start.parents):
        yield folder
        if (folder / ".git").exists():
            return


def config_file(root: Path) -> Path | None:
    """The file that pytest takes its ini values from: the first that speaks of pytest."""
    return next((path for name in _CONFIG_FILES if (path := root / name).is_file() and _values(path) is not None), None)


def _settings(root: Path) -> dict[str, Any]:
    """The ini values of pytest that matter here, where pytest would read them."""
    path = config_file(root)
    values = (_values(path) if path else None) or {}
    return {name: value for name, value in values.items() if name.startswith("releasegate_") or name == "base_url"}


def _values(path: Path) -> dict[str, Any] | None:
    return _toml(path) if path.suffix == ".toml" else _ini(path)


def _toml(path: Path) -> dict[str, Any] | None:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as wrong:
        raise UsageProblem(f"{path.name}: {wrong}") from None
    if path.name.endswith("pytest.toml"):
        return dict(tables.get("pytest", {}))
    own = tables.get("tool", {}).get("pytest")
    return None if own is None else {**own, **own.get("ini_options", {})}


def _ini(path: Path) -> dict[str, Any] | None:
    parser = ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except Error as wrong:
        raise UsageProblem(f"{path.name}: {wrong}") from None
    section = "tool:pytest" if path.name == "setup.cfg" else "pytest"
    if parser.has_section(section):
        return dict(parser[section])
    return {} if path.name.endswith("pytest.ini") else None
