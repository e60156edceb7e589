"""Which Python tests bear which gates: collected in a process of its own, without fixtures and without secrets."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BROWSERS_VARIABLE", "CASES_VARIABLE", "PythonGates", "case_of", "collect"]

CASES_VARIABLE = "RELEASEGATE_CASES_FILE"
"""Set only in the collecting process: the file into which the plugin writes what it found."""

BROWSERS_VARIABLE = "RELEASEGATE_BROWSERS"
"""In that process: the browsers that the run was asked for, since each is a case of its own."""

_KEPT = ("HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "SYSTEMROOT", "TMPDIR", "VIRTUAL_ENV", "XDG_CACHE_HOME")
_PATIENCE = 120.0


@dataclass
class PythonGates:
    """By gate: the cases and files of its tests; and the files that could not be imported, with the reason."""

    cases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    declared: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What tests declare of gates themselves: file, line and keys, each way of it once."""

    def add(self, gate: str, file: str, case: str, line: int, keys: dict[str, Any] | None = None) -> None:
        """One more test that bears the gate, and what it declares of it."""
        said = self.declared.setdefault(gate, []) if keys else []
        if keys and all(keys != other["keys"] for other in said):
            said.append({"file": file, "line": line, "keys": keys})
        self.cases[gate] = (*self.cases.get(gate, ()), case)
        self.files[gate] = tuple(dict.fromkeys((*self.files.get(gate, ()), file)))
        self.lines.setdefault(f"{file}:{gate}", line)


def case_of(node_id: str) -> str:
    """The case that a pytest node id stands for: what follows the file, with dots for `::`."""
    return node_id.partition("::")[2].replace("::", ".")


def collect(
    root: Path,
    paths: Sequence[str],
    cache: Path,
    config_file: Path | None,
    *,
    declared: bool = True,
    browsers: Sequence[str] = (),
) -> PythonGates:
    """The gates that tests under the paths bear; asked again only when a file there or the browsers have changed.

    Where no `test:` gate is declared and no file speaks of marks, nothing is asked.
    """
    paths = [path for path in paths if (root / path).exists()]
    files = sorted(set(_python_files(root, paths)))
    if not paths or not (declared or any(b"mark." in path.read_bytes() for path in files)):
        return PythonGates()
    key = _fingerprint(root, [*files, *sorted(_data_files(root, paths))], config_file) + "".join(browsers)
    cached = _cached(cache, key)
    if cached:
        return cached
    found = _ask(root, paths, config_file, browsers)
    _remember(cache, key, found)
    return found


def _python_files(root: Path, paths: Sequence[str]) -> Iterator[Path]:
    for path in paths:
        top = root / path
        yield from [top] if top.suffix == ".py" and top.is_file() else top.rglob("*.py")
    if (root / "conftest.py").is_file():
        yield root / "conftest.py"


def _data_files(root: Path, paths: Sequence[str]) -> Iterator[Path]:
    """What lies beside the tests, since a test may take its parameters from there."""
    for path in (file for name in paths for file in (root / name).rglob("*")):
        parts = path.relative_to(root).parts
        if path.suffix != ".py" and path.is_file() and not any(part.startswith((".", "__")) for part in parts):
            yield path


def _fingerprint(root: Path, files: Sequence[Path], config_file: Path | None) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in (*files, *([config_file] if config_file else [])):
        digest.update(os.path.relpath(path, root).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _cached(cache: Path, key: str) -> PythonGates | None:
    try:
        stored = json.loads(cache.read_text(encoding="utf-8"))
        return _from_json(stored["found"]) if stored["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(cache: Path, key: str, found: PythonGates) -> None:
    """Keep the answer; where it cannot be kept, asking again costs a second and nothing else."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({"key": key, "found": asdict(found)}), encoding="utf-8")
    except OSError:
        with suppress(OSError):
            cache.unlink(missing_ok=True)


def _from_json(value: dict[str, Any]) -> PythonGates:
    tuples = {name: {gate: tuple(rows) for gate, rows in value[name].items()} for name in ("cases", "files")}
    plain = (dict(value[name]) for name in ("lines", "broken", "declared"))
    return PythonGates(tuples["cases"], tuples["files"], *plain)


def _ask(root: Path, paths: Sequence[str], config_file: Path | None, browsers: Sequence[str]) -> PythonGates:
    with tempfile.TemporaryDirectory(prefix="releasegate-") as folder:
        answer = Path(folder) / "cases.json"
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:cacheprovider"]
        command += ["--rootdir", str(root), *(["-c", str(config_file)] if config_file else [])]
        command += ["-n0"] if find_spec("xdist") else []
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {CASES_VARIABLE: str(answer), BROWSERS_VARIABLE: " ".join(browsers)}
        try:
            done = subprocess.run(
                [*command, *paths],
                cwd=root,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UsageProblem(
                f"collecting the Python gates took over {_PATIENCE:g} s", "see what the modules import"
            ) from None
        if not answer.is_file():
            raise UsageProblem("the Python gates could not be collected", (done.stdout + done.stderr).strip()[-2000:])
        return _from_json(json.loads(answer.read_text(encoding="utf-8")))
