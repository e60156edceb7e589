"""Which Chromium is started: Playwright's own, or one of the system."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from pytest_releasegate.errors import CannotLook

__all__ = ["usable_chromium"]

_ON_PATH = ("chromium", "chromium-browser", "google-chrome")
_MAC = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def usable_chromium(said: str, own: Path, *, headless: bool = True) -> str:
    """The Chromium to start, empty where Playwright finds its own; raises `CannotLook` when there is none.

    `said` is the ini value `releasegate_chromium`, `own` is where Playwright's full Chromium would be.
    """
    if said not in {"", "auto"}:
        if not Path(said).is_file():
            raise CannotLook(f"releasegate_chromium: there is no file {said}", "name a Chromium, or say `auto`")
        return said
    if headless and _has_shell(own):
        return ""
    on_path = (shutil.which(name) for name in _ON_PATH)
    places = (str(own), *(path for path in on_path if path), *_MAC)
    found = next((path for path in places if Path(path).is_file()), "")
    if not found:
        what = "no Chromium to look with: neither Playwright's own nor one of the system is installed"
        raise CannotLook(what, "run `playwright install chromium`, or install the package `chromium` (Debian)")
    return found


def _has_shell(own: Path) -> bool:
    """Whether Playwright's headless shell of the same revision is there; it is installed beside the full browser."""
    folder = next((part for part in own.parents if re.fullmatch(r"chromium-\d+", part.name)), None)
    if folder is None:
        return False
    shell = folder.with_name(folder.name.replace("chromium-", "chromium_headless_shell-"))
    names = ("*/chrome-headless-shell", "*/headless_shell")
    return any(path.is_file() for name in names for path in shell.glob(name))
