"""Makes sure that there is a Chromium to drive: the machine's, Playwright's own, or Debian's package when root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ON_PATH = ("chromium", "chromium-browser", "google-chrome")


def main() -> int:
    """Find one, or get one; says in one line what is missing."""
    if any(shutil.which(name) for name in ON_PATH) or playwrights_own() or download() or debian():
        return 0
    sys.stderr.write("missing: a Chromium; install the package chromium, or run: playwright install chromium\n")
    return 1


def playwrights_own() -> bool:
    """Whether Playwright has its browser."""
    code = "from playwright.sync_api import sync_playwright as p\nwith p() as it: print(it.chromium.executable_path)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    path = Path(done.stdout.strip() or "/nowhere")
    shells = path.parents[2].glob("chromium_headless_shell-*/*/*shell") if len(path.parents) > 2 else []
    return path.is_file() or any(shells)


def download() -> bool:
    """Playwright's own browser, where it can be downloaded; gives up soon where it cannot."""
    command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    environment = {**os.environ, "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "5000"}
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def debian() -> bool:
    """Debian's package, when root."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    subprocess.run(["apt-get", "update", "-qq"], **quiet)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
    done = subprocess.run(install, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, **quiet)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
