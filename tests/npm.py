"""Programs from npm that tests run, each installed once into the user's cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path


def installed(package: str, version: str, program: str = "") -> Path:
    """The program of that version of a package; a missing npm fails the test that asks."""
    npm = shutil.which("npm")
    assert npm, "no npm: install Node.js"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pytest-releasegate"
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / f"{package}-{version}"
    with (cache / f"{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "installed").is_file():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(home)]
            wanted = f"{package}@{version}"
            subprocess.run([npm, "install", wanted, *options], check=True, capture_output=True, timeout=240)
            (home / "installed").touch()
    return home / "node_modules" / ".bin" / (program or package)
