"""Which gates may look together, and how xdist hands all gates of such a block to one worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_releasegate.lifecycle.arrival import sees_arrival

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pytest

    from pytest_releasegate.checklist.loader import Checklist, Declaration

__all__ = ["joins", "numbers", "scheduler", "whole"]


def joins(declaration: Declaration) -> bool:
    """Whether the gate only waits on a network and changes nothing, so that others may look meanwhile."""
    waits = getattr(declaration.check, "waits", False) is True
    return waits and declaration.together and not declaration.gate.writes


def numbers(checklist: Checklist, node_ids: Iterable[str]) -> list[int]:
    """The block of each item: those that join, side by side in a target's step, have one number; the rest are alone."""
    found: list[int] = []
    last: tuple[object, ...] | None = None
    for number, node_id in enumerate(node_ids):
        declaration = _declared(checklist, node_id)
        target = node_id.partition("::")[2].partition("[")[2]
        gate = declaration.gate if declaration and joins(declaration) else None
        step = (target, gate.phase, gate.step, sees_arrival(gate)) if gate else None
        found.append(found[-1] if step and step == last else number)
        last = step
    return found


def _declared(checklist: Checklist, node_id: str) -> Declaration | None:
    file, _, name = node_id.partition("::")
    declaration = checklist.by_id.get(name.partition("[")[0])
    return declaration if declaration and declaration.gate.place.file == file else None


def whole(config: pytest.Config) -> bool:
    """Whether blocks come to one worker whole: under `--dist load`, and no other plugin hands out the tests."""
    if config.getoption("dist", "no") != "load":
        return False
    try:
        from xdist.scheduler import LoadScheduling
    except ImportError:
        return False
    own = ("releasegate-ahead", "dsession")
    others = [one for one in config.hook.pytest_xdist_make_scheduler.get_hookimpls() if one.plugin_name not in own]
    return not others and hasattr(LoadScheduling, "_send_tests")


def scheduler(config: pytest.Config, log: Any, checklist: Checklist) -> object:
    """xdist's own way of handing out tests, but for blocks, of which nobody gets a part."""
    from xdist.scheduler import LoadScheduling

    made: Any = LoadScheduling(config, log)
    send = made._send_tests  # noqa: SLF001  the one place where it decides how many
    found: list[int] = []

    def send_whole(node: Any, number: int) -> None:
        found[:] = found or numbers(checklist, made.collection)
        send(node, _rounded(made.pending, number, found))

    made._send_tests = send_whole  # noqa: SLF001
    return made


def _rounded(pending: Sequence[int], number: int, blocks: Sequence[int]) -> int:
    """So many of what is pending, and the rest of the block that the last of them is in."""
    while 0 < number < len(pending):
        last, following = pending[number - 1], pending[number]
        if following != last + 1 or blocks[following] != blocks[last]:
            break
        number += 1
    return number
