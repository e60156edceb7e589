"""Where the browser of a gate comes from: started here or elsewhere; and why there is none, in one sentence."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing import Any

    import pytest
    from playwright.sync_api import BrowserContext

    from pytest_releasegate.check import Secrets

__all__ = ["films_at", "remote", "why_none", "without_film"]

_FFMPEG = {"linux": "ffmpeg-linux", "darwin": "ffmpeg-mac", "win32": "ffmpeg-win64.exe"}


def remote(config: pytest.Config, secrets: Secrets) -> str:
    """The address of the browser to use, from the ini value `releasegate_browser_url`; empty for one of this machine.

    Raises `CannotLook` where a variable that it names is unset.
    """
    said = str(config.getini("releasegate_browser_url"))
    found = secrets.resolve(said, secret=False)
    parts = urlsplit(found)
    for value in (parts.password or "", parts.path.strip("/"), parts.query):
        secrets.add(value, "releasegate_browser_url")
    return found


def why_none(error: str, name: str, url: str = "") -> str:
    """Why a browser could not be started or reached, and what to do, in two lines."""
    lines = [line.strip(" ║╔╗╚╝═") for line in error.splitlines()]
    first = next((line for line in lines if line), "no reason given")
    first = first.partition(": ")[2] or first
    if url:
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        if "428" in error or "version mismatch" in error.lower():
            return f"the browser at {place} is of another version of Playwright\n    run the same version on both sides"
        return f"the browser at {place} cannot be reached: {first.replace(url, place)}\n    is its server running?"
    if "Executable doesn't exist" in error:
        return f"no {name} to look with: Playwright's own is not installed\n    run `playwright install {name}`"
    if "DISPLAY" in error or "X server" in error:
        return f"no display to show {name} on\n    leave out --headed, or run it by `xvfb-run`"
    if "missing dependencies" in error.lower() or "missing libraries" in error.lower():
        return f"{name} lacks libraries of the system\n    run `playwright install-deps {name}`"
    return f"{name} could not be started: {first}"


def without_film(browser: BrowserContext) -> None:
    """Trace the context without a film of small pictures: that costs much, and no evidence holds it."""
    tracing: Any = browser.tracing
    start = tracing.start
    tracing.start = lambda **given: start(**{**given, "screenshots": False})


def films_at() -> tuple[Path, bool]:
    """Where Playwright's ffmpeg, which makes its films, has to be; and whether it is there, or cannot be told."""
    import playwright

    package = Path(playwright.__file__).parent / "driver" / "package"
    try:
        browsers = json.loads((package / "browsers.json").read_text(encoding="utf-8"))["browsers"]
        revision = next(one["revision"] for one in browsers if one["name"] == "ffmpeg")
    except (OSError, ValueError, KeyError, StopIteration):
        return package, True
    path = _browsers(package) / f"ffmpeg-{revision}" / _FFMPEG.get(sys.platform, "ffmpeg-linux")
    return path, path.is_file()


def _browsers(package: Path) -> Path:
    """The folder of Playwright's browsers, by its own rules."""
    said = os.environ.get("PLAYWRIGHT_BROWSERS_PATH", "")
    if said == "0":
        return package / ".local-browsers"
    if said:
        return Path(said)
    home = Path.home()
    places = {"darwin": home / "Library" / "Caches", "win32": home / "AppData" / "Local"}
    cache = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    ours = places.get(sys.platform, home / ".cache")
    return (Path(cache) if cache and sys.platform != "darwin" else ours) / "ms-playwright"
