"""`releasegate init`: a checklist for a product that has none: the reference one, or that of a Markdown file."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.editors import SCHEMA, gates_schema, with_modeline
from pytest_releasegate.checklist.environments import FILE as ENVIRONMENTS
from pytest_releasegate.checklist.loader import gate_files
from pytest_releasegate.checklist.reference import Target, adopted, environments, variable
from pytest_releasegate.commands._place import config_file, say
from pytest_releasegate.errors import ExitCode, UsageProblem
from pytest_releasegate.lifecycle.identify import named_version
from pytest_releasegate.report.text import count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["arguments", "run"]

CONFTEST = '''"""Fixtures for the Python tests of gates; `base_url`, `gate_context`, `finding` and `flow` are there."""
'''
PYPROJECT = "pyproject.toml"
OPTIONS = ("--import-mode=importlib", "--strict-markers")
FIRST_VERSION = "0.1.0"
_REFERENCE = re.compile(r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="the product's folder; here without")
    parser.add_argument("--from", dest="source", default="", metavar="CHECKLIST.md", help="your own checklist instead")
    parser.add_argument("--product", default="", metavar="NAME", help="the product's name; the folder's without it")
    parser.add_argument("--base-url", default="", metavar="URL", help="where its staging answers")
    text = "how its database is reached: a reference, such as '${env:STAGING_DSN}'"
    parser.add_argument("--database", default="", metavar="REFERENCE", help=text)
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def run(asked: argparse.Namespace) -> ExitCode:
    """Write the files, or say what is in the way."""
    root = Path(asked.folder).resolve()
    if root.exists() and not root.is_dir():
        raise UsageProblem(f"{asked.folder} is no folder")
    target = _target(asked, root)
    files = _imported(Path(asked.source)) if asked.source else adopted(root)
    files |= {f"gates/{ENVIRONMENTS}": environments(target)}
    files |= {f"gates/{SCHEMA}": json.dumps(gates_schema(), indent=2, ensure_ascii=False) + "\n"}
    if not asked.force:
        _refuse_overwriting(root, files)
    once = {"conftest.py": CONFTEST, **_config(root)}
    kept = [name for name in once if (root / name).exists() and name != PYPROJECT]
    files |= {name: text for name, text in once.items() if name not in kept}
    _write(root, files)
    say(*_told(files, kept), "", *_next(asked, target, root, PYPROJECT in files or "pytest.ini" in files))
    return ExitCode.GO


def _target(asked: argparse.Namespace, root: Path) -> Target:
    """What the product is, asked for where a terminal can answer."""
    ask = _nothing if asked.yes or not sys.stdin.isatty() else _line
    product = asked.product or ask("Name of the product", re.sub(r"[^\w.-]+", "-", root.name).strip("-") or "product")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", product):
        what = f"--product: expected a name of letters, digits, '.', '_' and '-', got '{product}'"
        raise UsageProblem(what, "such as acme-crm")
    prefix = variable(product)
    url = asked.base_url or ask("URL of its staging", f"${{env:{prefix}_STAGING_URL}}")
    database = asked.database or ask("Connection string of its database", f"${{env:{prefix}_STAGING_DSN}}")
    if not (_REFERENCE.fullmatch(url) or re.match(r"https?://[^\s\"'#]+$", url)):
        raise UsageProblem(f"--base-url: expected a URL, got '{url}'", "such as https://staging.acme.example")
    if not _REFERENCE.search(database):
        what = "--database: expected a reference, got a text without one; a connection string holds a password"
        raise UsageProblem(what, f"such as '${{env:{prefix}_STAGING_DSN}}', with the string in that variable")
    return Target(product, url, database)


def _nothing(_what: str, default: str) -> str:
    return default


def _line(what: str, default: str) -> str:
    sys.stdout.write(f"{what} [{default}]: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip() or default


def _imported(path: Path) -> dict[str, str]:
    """The gate files that a Markdown checklist becomes; raises `BrokenPlan` where it cannot be read as one."""
    from pytest_releasegate.checklist.markdown import gatefiles
    from pytest_releasegate.checklist.markdown.lines import read_source
    from pytest_releasegate.checklist.markdown.reading import read_checklist

    found = read_checklist(read_source(path, str(path)))
    found.refuse_nothing()
    files = {f"gates/{name}": with_modeline(text) for name, text in gatefiles.gate_files(found).items()}
    roles = gatefiles.stakeholders(found)
    return files | ({f"gates/{gatefiles.STAKEHOLDERS}": roles} if roles else {})


def _config(root: Path) -> dict[str, str]:
    """What pytest needs, where no file speaks of it yet; a version to begin with, where nothing says one."""
    if config_file(root):
        return {}
    release = {} if named_version(root) else {"releasegate_release": FIRST_VERSION}
    section = ["[tool.pytest.ini_options]", f"addopts = {json.dumps(OPTIONS)}"]
    section += [f'{name} = "{value}"' for name, value in release.items()]
    appended = _appended(root / PYPROJECT, "\n".join(section) + "\n")
    if appended:
        return {PYPROJECT: appended}
    lines = ["[pytest]", f"addopts = {' '.join(OPTIONS)}", *(f"{name} = {value}" for name, value in release.items())]
    return {"pytest.ini": "\n".join(lines) + "\n"}


def _appended(path: Path, section: str) -> str:
    """The file with a section more; empty where it is not there, or would be no TOML then."""
    try:
        text = path.read_text(encoding="utf-8").rstrip("\n") + "\n\n" + section
        tomllib.loads(text)
    except (OSError, ValueError):
        return ""
    return text


def _refuse_overwriting(root: Path, files: dict[str, str]) -> None:
    """Say all that is in the way; raises before anything is written."""
    there = [name for name in files if (root / name).exists()]
    there += [f"gates/{path.name}" for path in gate_files(root / "gates") if f"gates/{path.name}" not in files]
    if there:
        what = f"{count(len(there), 'file')} would be replaced, or would say the same twice: {', '.join(there)}"
        raise UsageProblem(what, "--force goes on; another FOLDER leaves them alone")


def _write(root: Path, files: dict[str, str]) -> None:
    try:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as wrong:
        raise UsageProblem(f"cannot write into {root}: {wrong.strerror}: {wrong.filename}") from None


def _told(files: dict[str, str], kept: list[str]) -> Iterator[str]:
    """What was written, folder by folder."""
    folders: dict[str, list[str]] = {}
    for name in files:
        folder, _, file = name.rpartition("/")
        folders.setdefault(f"{folder}/" if folder else "", []).append(file)
    for folder, names in folders.items():
        yield from (f"wrote {line}" for line in ([f"{folder}: {', '.join(names)}"] if folder else names))
    yield from (f"kept {name}, which was there" for name in kept)


def _next(asked: argparse.Namespace, target: Target, root: Path, configured: bool) -> Iterator[str]:
    """What to do now, as commands."""
    references = dict.fromkeys(_REFERENCE.findall(f"{target.base_url} {target.database}"))
    yield "next"
    yield from ([f"  cd {shlex.quote(asked.folder)}"] if root != Path.cwd() else [])
    yield from (f"  export {reference[6:-1]}=..." for reference in references)
    if not configured:
        yield f"  add to your pytest settings: addopts = {' '.join(OPTIONS)}"
    yield "  releasegate check --resolve     # what is declared, and which variables are not set"
    yield "  releasegate gates               # each line, and what looks at it or who answers for it"
    yield "  pytest -m predeploy             # the first look: a HOLD that says what is open"
    if not asked.source:
        yield "The tables, pages and flows in these gates are those of the demo's health record: put in your own."
    yield "Placeholders hold the roles: put your people into gates/stakeholders.yaml."
