"""Which Chromium is started, and what is said when something is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.hooks import chromium

if TYPE_CHECKING:
    from pathlib import Path

    from tests.smoke.conftest import Scratch

FLOW = """
import pytest

@pytest.mark.gate("1.1")
def test_flow(page, flow):
    with flow.step("Load"):
        page.goto("/")
"""

ARGUMENTS = """
import pytest

@pytest.mark.gate("1.1")
def test_arguments(browser_type_launch_args):
    print(sorted(browser_type_launch_args.items()))
    assert browser_type_launch_args == {expected}
"""

HIDE = """
from pytest_releasegate.hooks import chromium
chromium._MAC = ()
"""

OWN = """
import pytest

@pytest.fixture(scope="session")
def browser_type_launch_args():
    return {"executable_path": "/opt/mine"}
"""


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any Chromium; gives where Playwright's own would be."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(chromium, "_MAC", (str(tmp_path / "Applications" / "Chromium"),))
    return tmp_path / "ms-playwright" / "chromium-1255" / "chrome-linux64" / "chrome"


@pytest.fixture
def scratch(tmp_path: Path, make_scratch: type[Scratch]) -> Scratch:
    made = make_scratch(tmp_path / "product", {})
    (made.root / "smoke").mkdir(parents=True)
    (made.root / "smoke" / "test_one.py").write_text(FLOW)
    return made


def test_a_named_browser_comes_first(nothing: Path, tmp_path: Path) -> None:
    touch(nothing)
    mine = touch(tmp_path / "mine")
    assert chromium.usable_chromium(str(mine), nothing) == str(mine)


def test_playwrights_own_comes_before_the_systems(nothing: Path, tmp_path: Path) -> None:
    touch(tmp_path / "bin" / "chromium")
    shell = (
        nothing.parents[2] / "chromium_headless_shell-1255" / "chrome-headless-shell-linux64" / "chrome-headless-shell"
    )
    touch(shell)
    assert chromium.usable_chromium("auto", nothing) == ""
    assert chromium.usable_chromium("", nothing, headless=False) == str(tmp_path / "bin" / "chromium")
    touch(nothing)
    assert chromium.usable_chromium("", nothing, headless=False) == str(nothing)


def test_a_shell_of_another_revision_does_not_count(nothing: Path) -> None:
    touch(nothing.parents[2] / "chromium_headless_shell-1100" / "chrome-linux" / "headless_shell")
    with pytest.raises(CannotLook, match="no Chromium to look with"):
        chromium.usable_chromium("", nothing)


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome"])
def test_a_browser_on_the_path_is_found(nothing: Path, tmp_path: Path, name: str) -> None:
    found = touch(tmp_path / "bin" / name)
    assert chromium.usable_chromium("", nothing) == str(found)


def test_an_application_of_macos_is_found(nothing: Path, tmp_path: Path) -> None:
    found = touch(tmp_path / "Applications" / "Chromium")
    assert chromium.usable_chromium("", nothing) == str(found)


def test_without_any_browser_the_gate_errs_with_what_to_do(scratch: Scratch, tmp_path: Path) -> None:
    scratch.prepare('base_url: "http://127.0.0.1:9"')
    with (scratch.root / "conftest.py").open("w") as conftest:
        conftest.write(HIDE)
    code, out = scratch.run("-m", "smoke", PATH=str(tmp_path), PLAYWRIGHT_BROWSERS_PATH=str(tmp_path / "none"))
    result = scratch.results()["1.1"]
    assert code == 10
    assert result.status == "error"
    assert "no Chromium to look with: neither Playwright's own nor one of the system is installed" in result.message
    assert "run `playwright install chromium`, or install the package `chromium` (Debian)" in out
    assert "Traceback" not in out
    assert "usable_chromium(" not in out


def test_a_named_browser_that_is_not_there_is_an_error(scratch: Scratch) -> None:
    scratch.prepare('base_url: "http://127.0.0.1:9"', ini="releasegate_chromium = /opt/gone/chromium")
    scratch.run("-m", "smoke")
    assert "releasegate_chromium: there is no file /opt/gone/chromium" in scratch.results()["1.1"].message


def test_our_launch_arguments_win_over_the_plugins(scratch: Scratch, tmp_path: Path) -> None:
    mine = touch(tmp_path / "chromium")
    text = ARGUMENTS.replace("{expected}", repr({"executable_path": str(mine)}))
    (scratch.root / "smoke" / "test_one.py").write_text(text)
    scratch.prepare('base_url: "http://127.0.0.1:9"', ini=f"releasegate_chromium = {mine}")
    code, out = scratch.run("smoke/test_one.py")
    assert code == 0, out


def test_a_users_launch_arguments_win_over_ours(scratch: Scratch) -> None:
    (scratch.root / "smoke" / "test_one.py").write_text(
        ARGUMENTS.replace("{expected}", repr({"executable_path": "/opt/mine"}))
    )
    scratch.prepare('base_url: "http://127.0.0.1:9"')
    with (scratch.root / "conftest.py").open("w") as conftest:
        conftest.write(OWN)
    code, out = scratch.run("smoke/test_one.py")
    assert code == 0, out


def test_without_a_base_url_the_gate_says_which_variable_is_unset(scratch: Scratch) -> None:
    scratch.prepare('base_url: "${env:RELEASEGATE_DEMO_URL}"')
    _, out = scratch.run("-m", "smoke")
    result = scratch.results()["1.1"]
    assert result.status == "error"
    assert "no base URL to start from" in result.message
    assert "the environment variable RELEASEGATE_DEMO_URL is not set" in result.message
    assert "Traceback" not in out
