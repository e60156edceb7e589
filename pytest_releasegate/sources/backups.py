"""Backups as their tools report them: the documented JSON of pgBackRest, Barman and WAL-G."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_releasegate.check import Context

__all__ = ["REPORTS", "Made", "Report", "instant", "reported"]

_MOST_BYTES = 64 * 1024 * 1024
_RUNNING = ("STARTED", "SYNCING", "WAITING_FOR_WALS", "EMPTY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One backup: `cipher` is empty where it is not encrypted, None where nobody can tell."""

    name: str
    at: datetime | None
    dated_by: str
    size: int | None = None
    full: bool = True
    running: bool = False
    problem: str = ""
    cipher: str | None = None
    path: Path | None = None
    first_wal: str = ""
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The backups that a source knows, what it says is wrong, and the oldest WAL segment kept of each cluster."""

    backups: tuple[Made, ...]
    problems: tuple[str, ...] = ()
    oldest_wal: Mapping[str, str] = field(default_factory=dict)


def reported(tool: str, source: str | Sequence[str], server: str, context: Context) -> Report:
    """The report of a tool, out of a file or from a command's output."""
    text = _from_file(source, context) if isinstance(source, str) else _from_command(tuple(source), context)
    try:
        return REPORTS[tool](json.loads(text), server)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotLook(
            f"{tool}: its report cannot be read: {type(error).__name__}: {error}", f"expected {_WANTED[tool]}"
        ) from None


def instant(value: object) -> datetime | None:
    """The instant that a number of seconds or an ISO text says; one without an offset is none."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    text = str(value or "").strip()
    if text.isdecimal():
        return datetime.fromtimestamp(int(text), UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else None


def _from_file(path: str, context: Context) -> str:
    file = context.root / context.resolve(path, secret=False)
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise CannotLook(f"{path} is larger than {_MOST_BYTES} bytes", "is it the tool's report?")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CannotLook(f"{path} cannot be read: {error.strerror}", "write the tool's JSON report there") from None


def _from_command(command: tuple[str, ...], context: Context) -> str:
    words = [context.resolve(word) for word in command]
    try:
        done = subprocess.run(words, cwd=context.root, capture_output=True, check=False, timeout=context.remaining())
    except subprocess.TimeoutExpired:
        raise CannotLook(f"{command[0]} gave no report in time", "raise the gate's `timeout`") from None
    except OSError as error:
        raise CannotLook(f"{command[0]} cannot be run: {error.strerror}", "install it, or name its path") from None
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise CannotLook(
            f"{command[0]} ended with {done.returncode}: {told[0][:300]}", "run it by hand, as this account"
        )
    return done.stdout.decode()


def _chosen(names: Sequence[str], server: str, what: str) -> str:
    if server in names or (not server and len(names) == 1):
        return server or names[0]
    if server:
        raise CannotLook(f"the report has no {what} '{server}'", f"it has: {', '.join(names) or 'none'}")
    raise CannotLook(f"the report has {len(names)} {what}s", f"say which by `server`: {', '.join(names) or 'none'}")


def _pgbackrest(report: Any, server: str) -> Report:
    stanzas = {stanza["name"]: stanza for stanza in report}
    stanza = stanzas[_chosen(list(stanzas), server, "stanza")]
    repositories = {each["key"]: each for each in stanza.get("repo", ())}
    problems = [_status(f"stanza {stanza['name']}", stanza["status"])]
    problems += [_status(f"repository {key}", each["status"]) for key, each in repositories.items() if "status" in each]
    backups = [_of_pgbackrest(each, repositories, str(stanza.get("cipher", ""))) for each in stanza.get("backup") or ()]
    oldest = {
        str((each.get("database") or {}).get("id", "")): each["min"]
        for each in stanza.get("archive") or ()
        if each.get("min")
    }
    return Report(tuple(backups), tuple(filter(None, problems)), oldest)


def _status(what: str, status: Mapping[str, Any]) -> str:
    return f"{what}: status {status['code']}: {status.get('message', '')}" if status["code"] else ""


def _of_pgbackrest(backup: Mapping[str, Any], repositories: Mapping[int, Any], cipher: str) -> Made:
    info = backup["info"]
    kept = info.get("repository") or {}
    key = (backup.get("database") or {}).get("repo-key", 0)
    method = str(repositories.get(key, {}).get("cipher", cipher))
    return Made(
        name=backup["label"],
        at=instant(backup["timestamp"]["stop"]),
        dated_by="pgBackRest",
        size=kept.get("size", kept.get("delta", info.get("size"))),
        full=backup["type"] == "full",
        problem="pgBackRest found page checksum errors in it" if backup.get("error") else "",
        cipher={"none": "", "": None, "mixed": None}.get(method, method),
        first_wal=str((backup.get("archive") or {}).get("start") or ""),
        cluster=str((backup.get("database") or {}).get("id", "")),
    )


def _barman(report: Any, server: str) -> Report:
    servers = {name: found for name, found in report.items() if isinstance(found, list)}
    return Report(tuple(_of_barman(each) for each in servers[_chosen(list(servers), server, "server")]))


def _of_barman(backup: Mapping[str, Any]) -> Made:
    status = backup["status"]
    return Made(
        name=backup["backup_id"],
        at=instant(backup.get("end_time_timestamp")),
        dated_by="Barman",
        size=backup.get("size_bytes"),
        full=backup.get("backup_type") != "incremental",
        running=status in _RUNNING,
        problem="" if status == "DONE" else f"its status is {status}",
    )


def _walg(report: Any, server: str) -> Report:
    if server:
        raise CannotLook("WAL-G reports one server only", "leave `server` out")
    return Report(tuple(_of_walg(each) for each in report or ()))


def _of_walg(backup: Mapping[str, Any]) -> Made:
    finished = backup.get("finish_time")
    return Made(
        name=backup["backup_name"],
        at=instant(finished or backup.get("modified") or backup.get("time")),
        dated_by="WAL-G" if finished else "the storage's modification time",
        size=backup.get("compressed_size") or backup.get("uncompressed_size"),
        full="_D_" not in backup["backup_name"],
        first_wal=str(backup.get("wal_file_name") or ""),
    )


REPORTS: dict[str, Callable[[Any, str], Report]] = {"pgbackrest": _pgbackrest, "barman": _barman, "walg": _walg}
"""By tool, how its report is read."""
_WANTED = {
    "pgbackrest": "the output of: pgbackrest info --output=json",
    "barman": "the output of: barman --format json list-backups SERVER",
    "walg": "the output of: wal-g backup-list --detail --json",
}
