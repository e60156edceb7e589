"""locust, run headless in a process of its own: importing it would replace this process's sockets and threads."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.statistics import QUANTILES, nearest_rank

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Endpoint", "Order", "Outcome", "half_step", "read", "run"]

_PASSED_ON = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
_STOP = 10
_MARGIN = 20.0
_GRACE = 3.0
_MOST_LOG = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run: a locustfile, which of its users and tags, how many, how fast they start, for how many seconds."""

    locustfile: Path
    classes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    users: int
    spawn_rate: float
    seconds: int
    host: str
    variables: Mapping[str, str]

    def command(self, folder: Path) -> list[str]:
        """The command line; locust writes `stats.json` into the folder."""
        tags = ["--tags", *self.tags] if self.tags else []
        return [
            *(sys.executable, "-m", "locust", "-f", str(self.locustfile), "--headless", "--only-summary"),
            *("--host", self.host, "-u", str(self.users), "-r", f"{self.spawn_rate:g}", "-t", f"{self.seconds}s"),
            *("--stop-timeout", str(_STOP), "--exit-code-on-error", "0", "--loglevel", "INFO"),
            *("--json-file", str(folder / "stats"), *tags, *(["--", *self.classes] if self.classes else [])),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What one named request gave: counts, and how often each response time in milliseconds, as locust rounds it."""

    name: str
    method: str
    requests: int
    failures: int
    times: Mapping[float, int]
    slowest: float
    first: float
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run gave; `text` is locust's JSON, `log` what it logged."""

    endpoints: tuple[Endpoint, ...]
    text: str
    log: str = ""

    @property
    def requests(self) -> int:
        """All requests."""
        return sum(endpoint.requests for endpoint in self.endpoints)

    @property
    def failures(self) -> int:
        """The failed ones among them."""
        return sum(endpoint.failures for endpoint in self.endpoints)

    @property
    def seconds(self) -> float:
        """The time from the first answer to the last."""
        if not self.requests:
            return 0.0
        return max(seen.last for seen in self.endpoints) - min(seen.first for seen in self.endpoints)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds if self.seconds > 0 else 0.0

    @property
    def times(self) -> Mapping[float, int]:
        """How often each response time in milliseconds, over all endpoints."""
        summed: Counter[float] = Counter()
        for endpoint in self.endpoints:
            summed.update(endpoint.times)
        return summed

    @property
    def spawned(self) -> int:
        """How many users ran when all had started; 0 when locust did not say that they had."""
        said = re.findall(r"All users spawned: .*\((\d+) total users\)", self.log)
        return int(said[-1]) if said else 0

    @property
    def exceptions(self) -> int:
        """How many exceptions the locustfile raised; locust counts these as no request."""
        return self.log.count("Traceback (most recent call last)")

    @property
    def throttled(self) -> bool:
        """Whether locust itself was short of processor time, so that it measured itself."""
        return "CPU usage above" in self.log or "CPU usage was too high" in self.log

    def quantile(self, q: float) -> float:
        """The q-quantile of all response times in seconds, by nearest rank (locust's own is one rank too high)."""
        return nearest_rank(q, self.times) / 1000

    def summary(self, most: int) -> str:
        """locust's JSON without its counts by the second, in so many characters; the last row says how much was cut."""
        rows = json.loads(self.text)
        rows = [{key: row[key] for key in row if not key.endswith("_per_sec")} for row in rows]
        kept = list(rows)
        while len(text := json.dumps([*kept, {"left_out": len(rows) - len(kept)}])) > most:
            kept.pop()
        return text

    def table(self) -> str:
        """The endpoints as CSV, times in milliseconds; at most 200 of them."""
        table = StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(["method", "name", "requests", "failures", "p50 ms", "p95 ms", "p99 ms", "slowest ms"])
        for seen in self.endpoints[:200]:
            quantiles = [f"{nearest_rank(q, seen.times):g}" for q in QUANTILES.values()]
            counts = [seen.requests, seen.failures]
            rows.writerow([seen.method, seen.name, *counts, *quantiles, f"{seen.slowest * 1000:.0f}"])
        return table.getvalue()


def half_step(seconds: float) -> float:
    """How far a response time may be from what locust wrote: half a unit of two digits, at least half a millisecond."""
    for limit, step in ((0.1, 0.001), (1.0, 0.01), (10.0, 0.1)):
        if seconds < limit:
            return step / 2
    return 0.5


def read(text: str) -> tuple[Endpoint, ...]:
    """The endpoints in locust's `--json-file`; raises `CannotLook` when it is none."""
    try:
        return tuple(_endpoint(row) for row in json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        what = f"locust wrote no readable statistics: {type(wrong).__name__}: {str(wrong)[:120]}"
        raise CannotLook(what, "is the installed locust at least 2.32?") from None


def _endpoint(row: dict[str, Any]) -> Endpoint:
    return Endpoint(
        name=row["name"],
        method=row["method"] or "",
        requests=int(row["num_requests"]),
        failures=int(row["num_failures"]),
        times={float(time): int(count) for time, count in row["response_times"].items()},
        slowest=float(row["max_response_time"] or 0) / 1000,
        first=float(row["start_time"]),
        last=float(row["last_request_timestamp"] or row["start_time"]),
    )


def run(order: Order, root: Path, remaining: Callable[[float], float]) -> Outcome:
    """Run locust to its end; raises `CannotLook` when it is absent, does not end in time, or fails."""
    if find_spec("locust") is None:
        raise CannotLook("locust is not installed", "pip install 'pytest-releasegate[load]'")
    most = order.seconds + _STOP + _MARGIN
    if (left := remaining(most)) < most:
        raise CannotLook(f"the load needs up to {most:g}s, the gate has {left:.0f}s left", "raise its `timeout`")
    with TemporaryDirectory(prefix="releasegate-load-") as name:
        folder = Path(name)
        code = _execute(order.command(folder), root, _environment(order.variables), folder / "log", most)
        log = _log_of(folder / "log")
        if code != 0:
            raise CannotLook(f"locust ended with code {code}: {_reason(log)}", f"see {order.locustfile.name}")
        stats = folder / "stats.json"
        if not stats.is_file():
            raise CannotLook("locust wrote no statistics", f"see {order.locustfile.name}")
        text = stats.read_text(encoding="utf-8")
    return Outcome(endpoints=read(text), text=text, log=log)


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", **variables}


def _execute(command: list[str], root: Path, environment: dict[str, str], log: Path, most: float) -> int:
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=sink,
            start_new_session=True,
        )
        try:
            return process.wait(most)
        except subprocess.TimeoutExpired:
            raise CannotLook(f"locust did not end within {most:g}s and was stopped", "does a user block?") from None
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _signal(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    # the group may be gone; macOS says PermissionError for one that only holds zombies
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _log_of(log: Path) -> str:
    """The beginning and the end of the log, which say who started and how it ended."""
    said = log.read_bytes()
    if len(said) > 2 * _MOST_LOG:
        said = said[:_MOST_LOG] + b"\n... left out ...\n" + said[-_MOST_LOG:]
    return said.decode(errors="replace")


def _reason(log: str) -> str:
    said = [line for line in log.splitlines() if "/ERROR/" in line or "Error: " in line]
    lines = said or [line for line in log.splitlines() if line.strip()]
    return re.sub(r"^\[.*?/ERROR/\S+: ", "", lines[-1].strip())[:300] if lines else "it said nothing"
