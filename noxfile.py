"""The plugin on every supported pytest: `nox`, or `nox -s "tests(pytest='8.4')"`; `make test` has the newest."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
VERSIONS = ("8.0", "8.4", "9.0")
WHOLE_RUNS = ("tests/hooks/test_gates.py", "tests/hooks/test_xdist.py", "tests/hooks/test_bad_input.py")
"""Whole runs of gates in processes of their own, with and without xdist; locust, which needs 8.3.3, is left out."""


@nox.session
@nox.parametrize("pytest", VERSIONS)
def tests(session: nox.Session, pytest: str) -> None:
    """Whole runs on one version of pytest."""
    session.install(f"pytest=={pytest}.*", "pytest-xdist", "-e", ".")
    session.run("pytest", "-q", "-n", "2", *WHOLE_RUNS, *session.posargs)
