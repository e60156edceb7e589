"""Whether this pytest run asks for gates at all; imports nothing heavy, since every pytest run comes through here."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MARKERS",
    "Bystander",
    "browsers",
    "by_path",
    "expression",
    "folder",
    "is_asked",
    "kinds",
    "may_ask",
    "named",
    "narrowed",
    "paths",
    "product_of",
    "topics",
    "wants",
]

MARKERS = {
    "gate": "gate(id): the test bears the gate of that id of the checklist",
    "predeploy": "gates of T-24h, before a deployment",
    "deploy": "gates of T-0: the steps before, migrate, after",
    "postdeploy": "gates of T+15m",
    "day1": "gates of T+24h",
    "review": "gates of T+48h to T+96h",
    "rollback": "gates of a rollback: the steps decide, execute, verify",
    "backfill": "gates of a backfill: the steps before, during, after",
    "compliance": "gates of compliance",
    **dict.fromkeys(("before", "migrate", "after", "decide", "execute", "verify", "during"), "gates of that step"),
    **dict.fromkeys(("critical", "high", "medium", "low"), "gates of that severity"),
    **dict.fromkeys(("smoke",), "gates that walk through the product as its users do"),
}
"""Markers that exist in every run; those of kinds and topics are added when gates are asked for."""

_PHASES = {phase.value for phase in Phase}
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"(?:^|[\s{,-])([A-Za-z_]\w*):(?=\s|$)", re.MULTILINE)
_TOPICS = re.compile(r"\btopics:\s*(\[[^\]]*\]|(?:\n?\s*-\s+[^\n]+)+|[\w.-]+)")


def folder(config: pytest.Config) -> Path:
    """The gates folder."""
    return config.rootpath / str(config.getini("releasegate_gates"))


def browsers(config: pytest.Config) -> list[str]:
    """The browsers that the run was asked for; empty where it leaves that to pytest-playwright."""
    return list(config.getoption("browser", None) or []) if config.pluginmanager.hasplugin("playwright") else []


def paths(config: pytest.Config) -> list[str]:
    """The folders, relative to the root, whose tests are gates."""
    return [str(path) for path in config.getini("releasegate_paths")]


def expression(config: pytest.Config) -> str:
    """What `-m` says."""
    return str(config.getoption("markexpr", "") or "")


def is_asked(config: pytest.Config) -> bool:
    """Whether `-m` names something that gates bear, or a path of gates is given."""
    if not folder(config).is_dir():
        return False
    text = expression(config)
    return _names_gates(config, text) if text else bool(by_path(config))


def may_ask(config: pytest.Config) -> bool:
    """Whether `-m` has a word that gates of any product bear."""
    return bool(set(_WORD.findall(expression(config))) & MARKERS.keys())


def by_path(config: pytest.Config) -> list[Path]:
    """The paths of gates that the command line names."""
    tops = [config.rootpath / path for path in paths(config)]
    return [path for path in named(config) if any(path == top or top in path.parents for top in tops)]


def product_of(config: pytest.Config, path: Path) -> Path | None:
    """The folder of the product that a file belongs to; None where no gates are above it in its repository."""
    gates = str(config.getini("releasegate_gates"))
    for parent in path.parents:
        if parent == config.rootpath:
            return parent if (parent / gates).is_dir() else None
        if (parent / gates / "environments.yaml").is_file():
            return parent
        if (parent / ".git").exists():
            return None
    return None


def named(config: pytest.Config) -> list[Path]:
    """The paths that the command line names."""
    by_name = config.args_source is pytest.Config.ArgsSource.ARGS
    return [_absolute(config, argument) for argument in config.args] if by_name else []


def narrowed(config: pytest.Config, markers: Iterable[str]) -> bool:
    """Whether the command leaves out some of what `-m` asks for, `markers` being those that gates bear."""
    names = ("keyword", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "stepwise_skip")
    by_marker = set(_WORD.findall(expression(config))) - {"and", "or", "not"} - set(markers)
    return (
        any(config.getoption(name, None) for name in names)
        or bool(by_marker)
        or any(str(word).partition("=")[0] == "--browser" for word in config.invocation_params.args)
        or config.args_source is pytest.Config.ArgsSource.ARGS
    )


def wants(text: str, markers: Iterable[str], own: Iterable[str]) -> bool:
    """Whether the expression selects what bears the markers, and would not without the gate's own."""
    from pytest_releasegate.checklist.conditions import parse

    condition = parse(text)
    bears, others = frozenset(markers), frozenset(markers) - frozenset(own)
    return condition.holds(lambda name: name in bears) and not condition.holds(lambda name: name in others)


def _absolute(config: pytest.Config, argument: str) -> Path:
    return Path(config.invocation_params.dir, argument.split("::")[0]).resolve()


def kinds() -> set[str]:
    """The kinds of checks that come with the plugin; each is a marker."""
    return {path.stem for path in (Path(__file__).parent.parent / "checks").glob("[a-z]*.py")}


def topics(config: pytest.Config) -> set[str]:
    """The topics that the gate files name, read without a parser; each is a marker."""
    lists = (match[1] for text in _texts(config) for match in _TOPICS.finditer(text))
    return {word for words in lists for word in _WORD.findall(words)}


def _texts(config: pytest.Config) -> list[str]:
    gates = folder(config)
    files = (path for path in (gates.iterdir() if gates.is_dir() else ()) if path.suffix in {".yaml", ".yml"})
    return [path.read_text("utf-8", "replace") for path in files if path.is_file()]


def _names_gates(config: pytest.Config, text: str) -> bool:
    """Whether the expression needs a marker that gates bear: what an unmarked test satisfies does not."""
    from pytest_releasegate.checklist.conditions import parse

    words = set(_WORD.findall(text)) - {"and", "or", "not"}
    keys = {key for text in _texts(config) for key in _KEY.findall(text)}  # kinds of other distributions too
    if not words & (MARKERS.keys() | kinds() | topics(config) | keys):
        return False
    try:
        return not parse(text).holds(lambda _name: False)
    except ValueError:
        return True  # said as a mistake when the run is set up


class Bystander:
    """In a run that asks for no gates: tests that bear a gate are left out, so that nothing touches a target."""

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Where `-m` names a phase and the root has no gates: which products have some."""
        text = expression(config)
        if folder(config).is_dir() or not set(_WORD.findall(text)) & _PHASES or not _names_gates(config, text):
            return
        from pytest_releasegate.lifecycle.products import below

        if products := below(config.rootpath):
            said = f"no gates/ folder in {config.rootpath}; {', '.join(products)}: go there, or name one as --rootdir"
            terminalreporter.write_line(f"releasegate: {said}", red=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Deselect what bears a gate."""
        gates = [item for item in items if _bears(config, item)]
        if gates:
            items[:] = [item for item in items if item not in set(gates)]
            config.hook.pytest_deselected(items=gates)


def _bears(config: pytest.Config, item: pytest.Item) -> bool:
    if not {mark.name for mark in item.iter_markers()} & MARKERS.keys():
        return False
    product = product_of(config, item.path)
    if product is None or item.get_closest_marker("gate"):
        return product is not None
    from pytest_releasegate.checklist.marks import borne

    inside = os.path.relpath(product, config.rootpath)
    return borne(item, [Path(inside, path).as_posix() for path in paths(config)]) is not None
