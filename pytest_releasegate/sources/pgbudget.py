"""How many connections a database gives to gates: slots shared by the processes of a machine, freed by their end."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context

__all__ = ["one_connection", "reserve"]

_WAIT_SECONDS = 120.0
_PAUSE_SECONDS = 0.05


@contextmanager
def reserve(context: Context, database: str, address: str, most: int, least: int = 1) -> Iterator[int]:
    """Hold between `least` and `most` slots of a database at once, for connections of this gate; gives how many.

    It waits for `least` of them; more are taken only where they are free. `address` tells servers apart. Raises
    `CannotLook` where the budget is smaller than `least`, or nothing came free in time.
    """
    budget = context.environment.connections
    if least > budget:
        raise CannotLook(
            f"database '{database}': {least} connections are needed at once, and {budget} may be used",
            f"declare `connections: {least}` for environment '{context.environment.name}'",
        )
    held = context.reserved.setdefault(database, [])
    slots = _wait(context, database, address, min(most, budget), least)
    held += slots
    try:
        yield len(slots)
    finally:
        held[:] = [slot for slot in held if slot not in slots]
        _close(slots)


@contextmanager
def one_connection(context: Context, database: str, address: str) -> Iterator[None]:
    """A slot for one connection: one that this gate reserved and does not use, else one that it waits for."""
    free = context.reserved.get(database)
    if free:
        slot = free.pop()
        try:
            yield
        finally:
            free.append(slot)
        return
    slots = _wait(context, database, address, 1, 1)
    try:
        yield
    finally:
        _close(slots)


def _wait(context: Context, database: str, address: str, most: int, least: int) -> list[IO[bytes]]:
    folder = _folder(address)
    waited = 0.0
    while True:
        slots = _free(folder, context.environment.connections, most)
        if len(slots) >= least:
            return slots
        # nothing is held while waiting, so that two gates cannot wait for each other
        _close(slots)
        if waited >= _WAIT_SECONDS:
            raise CannotLook(
                f"database '{database}': other gates used all its {context.environment.connections} connections "
                f"for {_WAIT_SECONDS:.0f} s",
                f"raise `connections` of environment '{context.environment.name}', or run fewer workers",
            )
        context.remaining()
        context.clock.sleep(_PAUSE_SECONDS)
        waited += _PAUSE_SECONDS


def _free(folder: Path, budget: int, most: int) -> list[IO[bytes]]:
    taken: list[IO[bytes]] = []
    for number in range(budget):
        if len(taken) == most:
            break
        file = (folder / str(number)).open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            taken.append(file)
    return taken


def _close(slots: list[IO[bytes]]) -> None:
    for slot in slots:
        slot.close()


def _folder(address: str) -> Path:
    name = hashlib.sha256(address.encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"releasegate-{os.getuid()}" / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
