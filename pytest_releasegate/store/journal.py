"""What survives a killed run: every finished result in a file before anybody hears of it, and how it comes back.

A run's folder `run-ID` holds one file of JSON lines for each worker, and the bytes of the evidence under their digests.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.store.nouns import result_from_json, result_to_json
from pytest_releasegate.store.values import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_releasegate.model import Result, Run
    from pytest_releasegate.store.record import Store

__all__ = ["Journal", "Recovered", "discard", "from_json", "is_alive", "recover", "to_json"]

_DIGEST = re.compile(r"[0-9a-f]{64}")


def to_json(result: Result) -> str:
    """The result as one line of ASCII, which `from_json` reads back exactly."""
    return result_to_json(result)


def from_json(text: str) -> Result:
    """The result that `to_json` wrote; raises `ValueError`, `TypeError` or `LookupError` for anything else."""
    return result_from_json(text)


class Journal:
    """The file of one worker of one run; while it is open, nobody takes the run for dead."""

    def __init__(self, folder: Path, run_id: int, worker: str) -> None:
        self._run = run_id
        self._folder = _folder(folder, run_id)
        folder.mkdir(parents=True, exist_ok=True)
        for place in (self._folder, self._folder / "blobs"):
            place.mkdir(mode=0o700, exist_ok=True)
        self._lock = os.open(self._folder, os.O_RDONLY)
        self._file = os.open(self._folder / f"{_word(worker)}.jsonl", os.O_RDWR | os.O_CREAT, 0o600)
        self._closing = weakref.finalize(self, _close, self._lock, self._file)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        self._end = os.fstat(self._file).st_size
        self._torn = self._end > 0 and os.pread(self._file, 1, self._end - 1) != b"\n"
        for place in (self._folder, folder):
            _sync(place)

    def append(self, result: Result, bodies: Mapping[str, bytes]) -> None:
        """Put a result and its evidence on the disk before it is reported anywhere; raises `OSError` when it cannot."""
        for digest, body in bodies.items():
            self._keep(digest, body)
        text = to_json(result)
        line = json.dumps({"run": self._run, "sha256": sha256(text.encode()), "result": text})
        self._write((b"\n" if self._torn else b"") + line.encode() + b"\n")
        self._torn = False

    def close(self) -> None:
        """Let go of the file; what is in it stays."""
        self._closing()

    def _write(self, data: bytes) -> None:
        # what a full disk cut off in an earlier attempt must not stay between two lines
        os.ftruncate(self._file, self._end)
        done = 0
        while done < len(data):
            done += os.pwrite(self._file, data[done:], self._end + done)
        os.fsync(self._file)
        self._end += done

    def _keep(self, digest: str, body: bytes) -> None:
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"evidence '{digest}': expected a SHA-256 digest in hexadecimal")
        final = self._folder / "blobs" / digest
        if final.exists():
            return
        part = final.with_name(f"{digest}.{os.getpid()}.part")
        with part.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(final)
        _sync(final.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What was found of one run that never ended."""

    run: int
    recovered: int = 0
    """How many results were put into the record now."""
    cut_off: tuple[str, ...] = ()
    """The gates of the run's scope that have no result of this run."""
    problems: tuple[str, ...] = ()
    """What could not be taken, one sentence each."""


def recover(store: Store, folder: Path) -> list[Recovered]:
    """Put what runs left behind into the record, and clean up after those of which all is stored.

    A run that is alive is left alone. What belongs to no run of this record stays where it is and is told.
    """
    found: list[Recovered] = []
    for place in sorted(folder.glob("run-*"), key=lambda path: (len(path.name), path.name)):
        number = place.name.removeprefix("run-")
        if number.isdecimal() and place.is_dir():
            found.extend(_recover(store, place, int(number)))
    return found


def discard(folder: Path, run_id: int) -> None:
    """Remove a run's journal after its clean end."""
    shutil.rmtree(_folder(folder, run_id), ignore_errors=True)


def _recover(store: Store, place: Path, run_id: int) -> Iterator[Recovered]:
    with _alone(place) as free:
        if not free:
            return
        known = store.run(run_id)
        if known is None:
            problem = f"{place}: the record {store.shown_url} knows no run {run_id}; its journal is left there"
            yield Recovered(run=run_id, problems=(problem,))
            return
        release_id, run = known
        if not is_alive(run):
            yield _take(store, place, release_id, run)


def _take(store: Store, place: Path, release_id: int, run: Run) -> Recovered:
    number, problems, foreign = 0, [], False
    for file in sorted(place.glob("*.jsonl")):
        for where, line in _lines(file):
            result = _read(line)
            if result is None:
                problems.append(f"{where}: a result was cut off while it was written and is not guessed")
            elif why := _mismatch(line, result, run):
                foreign = True
                problems.append(f"{where}: a result of gate {result.gate} {why}; it is left there")
            else:
                number += not store.has_result(run.id, result)
                bodies, lost = _bodies(place, result)
                problems.extend(f"{where}: gate {result.gate}: {each}" for each in lost)
                store.add_result(release_id, run.id, result, bodies)
    if not foreign:
        shutil.rmtree(place, ignore_errors=True)
    seen = store.looked_at(run.id)
    cut_off = tuple(gate for gate in run.scope if gate not in seen)
    return Recovered(run=run.id, recovered=number, cut_off=cut_off, problems=tuple(problems))


def _lines(file: Path) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if line.strip():
            yield f"{file}:{number}", line


def _read(line: bytes) -> Result | None:
    try:
        document = json.loads(line)
        text = document["result"]
        return from_json(text) if sha256(text.encode()) == document["sha256"] else None
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _mismatch(line: bytes, result: Result, run: Run) -> str:
    head = json.loads(line)
    if head.get("run") != run.id:
        return f"names run {head.get('run')}, expected {run.id}"
    if result.gate not in run.scope:
        return f"is outside of the scope of run {run.id}"
    if result.started_at < run.started_at:
        return f"is older than run {run.id}"
    if run.ended_at and result.started_at > run.ended_at:
        return f"is younger than the end of run {run.id}"
    return ""


def _bodies(place: Path, result: Result) -> tuple[dict[str, bytes], list[str]]:
    bodies, lost = {}, []
    for piece in result.evidence:
        path = place / "blobs" / piece.sha256
        body = path.read_bytes() if _DIGEST.fullmatch(piece.sha256) and path.is_file() else None
        if body is not None and sha256(body) == piece.sha256:
            bodies[piece.sha256] = body
        else:
            lost.append(f"the bytes of evidence '{piece.name}' are lost")
    return bodies, lost


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[bool]:
    try:
        handle = os.open(place, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def is_alive(run: Run) -> bool:
    """Whether the process of a run that has not ended is there, on this host."""
    # this very process cannot be the run that it recovers: in a container the number comes back
    if run.ended_at is not None or run.host != socket.gethostname() or run.pid == os.getpid() or run.pid <= 0:
        return False
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _folder(folder: Path, run_id: int) -> Path:
    return folder / f"run-{run_id}"


def _word(worker: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", worker) or "main"


def _close(*handles: int) -> None:
    for handle in handles:
        os.close(handle)


def _sync(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
