"""`releasegate demo`: a small electronic health record to try all of this on; alone it plays one whole release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_releasegate.commands._place import say
from pytest_releasegate.errors import ExitCode, UsageProblem, nearest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

__all__ = ["arguments", "run"]

_STEPS = "play, which is meant without it; or one step: up (prints the variables that gates read), migrate, deploy, ..."
_BREAKS = "play a release that breaks so, such as rls; `releasegate demo break` lists them all"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    parser.add_argument("action", nargs="?", default="play", choices=[*_ACTIONS], help=_STEPS)
    parser.add_argument(
        "name",
        nargs="?",
        default="",
        metavar="NAME",
        help="what to break or heal; the version to deploy; `migrate down`",
    )
    parser.add_argument("--break", dest="broken", default="", metavar="NAME", help=_BREAKS)
    parser.add_argument("--keep", action="store_true", help="leave the demo running after the play")
    parser.add_argument("--state", default=".demo", metavar="FOLDER", help=".demo without it")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the visitors come")


def run(asked: argparse.Namespace) -> int:
    """Do it."""
    try:
        from releasegate_demo import control
    except ImportError as missing:
        raise UsageProblem(f"the demo is not installed: {missing}", "pip install 'pytest-releasegate[demo]'") from None
    from releasegate_demo.play import WITHHELD

    known = ["", *control.BREAKS]
    at_play = [*known, *WITHHELD]
    if asked.broken not in at_play or (asked.action in {"break", "heal"} and asked.name not in known):
        wrong = asked.broken or asked.name
        names = [*control.BREAKS, *(WITHHELD if asked.broken else ())]
        raise UsageProblem(f"unknown break '{wrong}'", nearest(wrong, names))
    if asked.action == "break" and not asked.name:
        say(*[f"{name:10} {broken.title}" for name, broken in control.BREAKS.items()])
        say(*[f"{name:10} in a play (--break {name}): {what}" for name, what in WITHHELD.items()])
        return ExitCode.GO
    try:
        return _ACTIONS[asked.action](asked, control)
    except control.DemoError as wrong:
        raise UsageProblem(str(wrong)) from None


def _play(asked: argparse.Namespace, control: Any) -> int:  # noqa: ARG001
    from releasegate_demo.play import play

    return play(Path(asked.state).resolve(), asked.broken, asked.keep)


def _up(asked: argparse.Namespace, control: Any) -> int:
    info = control.up(_running(asked))
    say(
        f"# {info.base_url} {info.version}", *[f"export {name}='{value}'" for name, value in info.environment().items()]
    )
    return ExitCode.GO


def _down(asked: argparse.Namespace, control: Any) -> int:
    was_up = control.status(_running(asked)) is not None
    control.down(_running(asked))
    say("it is down" if was_up else "no demo was up")
    return ExitCode.GO


def _status(asked: argparse.Namespace, control: Any) -> int:
    info = control.status(_running(asked))
    if info is None:
        say("no demo is up")
        return ExitCode.HOLD
    say(f"{info.base_url} {info.version} {info.commit[:10]}")
    say(
        *[f"broken: {name}: {control.BREAKS[name].title}" for name in control.active_breaks(_running(asked))]
        or ["nothing is broken"]
    )
    return ExitCode.GO


def _break(asked: argparse.Namespace, control: Any) -> int:
    control.make_break(_running(asked), asked.name)
    say(f"{asked.name}: {control.BREAKS[asked.name].title}", f"users notice: {control.BREAKS[asked.name].notice}")
    return ExitCode.GO


def _heal(asked: argparse.Namespace, control: Any) -> int:
    healed = control.heal(_running(asked), asked.name or None)
    say(f"healed: {', '.join(healed) or 'nothing was broken'}")
    return ExitCode.GO


def _migrate(asked: argparse.Namespace, control: Any) -> int:
    applied = control.migrate(_running(asked), "down" if asked.name == "down" else "up")
    say(f"migrated: {', '.join(applied) or 'nothing was pending'}")
    return ExitCode.GO


def _deploy(asked: argparse.Namespace, control: Any) -> int:
    info = control.deploy(_running(asked), asked.name or "1.4.0")
    say(f"{info.base_url} {info.version}")
    return ExitCode.GO


def _traffic(asked: argparse.Namespace, control: Any) -> int:
    seen = control.traffic(_running(asked), seconds=min(asked.seconds, 600.0))
    say(f"{seen.requests} requests, {seen.failures} failed, {seen.seconds:.1f} s")
    return ExitCode.GO


def _running(asked: argparse.Namespace) -> Path:
    return Path(asked.state).resolve() / "running"


_ACTIONS: dict[str, Callable[[argparse.Namespace, Any], int]] = {
    "play": _play,
    "up": _up,
    "down": _down,
    "status": _status,
    "break": _break,
    "heal": _heal,
    "migrate": _migrate,
    "deploy": _deploy,
    "traffic": _traffic,
}
