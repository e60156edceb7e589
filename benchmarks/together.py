"""Gates that wait on a network, looked at together: a real run over 300 of them, beside a hand-written asyncio client.

Four servers in processes of their own answer after 100 ms each. The client asks the same URLs at the same bounds.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from pytest_releasegate.store import open_store
from pytest_releasegate.turns import AT_ONCE, PER_HOST

GATES, HOSTS, WAIT, ROUNDS = 300, 4, 0.1, 5
SILENT = [
    word for name in ("playwright", "locust", "allure_pytest", "hypothesispytest") for word in ("-p", f"no:{name}")
]
AIM, MOST = 1.3, 1.5

SERVER = """
import asyncio, sys

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    await asyncio.sleep(float(sys.argv[2]))
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(answer, sys.argv[1], 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def main() -> None:
    """Interleave both ways, and print medians and their ratio."""
    times: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        urls = [
            f"{stack.enter_context(_Server(number)).url}/{each}"
            for each in range(GATES // HOSTS)
            for number in range(HOSTS)
        ]
        for _ in range(ROUNDS):
            times["asyncio client"].append(_by_hand(urls))
            for name, seconds in _by_gates(urls).items():
                times[name].append(seconds)
    for name, values in times.items():
        print(f"{name:34} median {statistics.median(values):6.3f} s, least {min(values):6.3f} s")
    looking, hand = statistics.median(times["looking"]), statistics.median(times["asyncio client"])
    print(f"looking / client = {looking / hand:.2f}, aim <= {AIM}")
    print(f"{GATES} gates were looked at within {looking:.2f} s, aim <= {MOST}")


class _Server:
    """A server on a loopback address of its own."""

    def __init__(self, number: int) -> None:
        self.host = f"127.0.0.{number + 1}"

    def __enter__(self) -> _Server:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, self.host, str(WAIT)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = f"http://{self.host}:{int(self.process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def _by_hand(urls: list[str]) -> float:
    start = time.perf_counter()
    asyncio.run(_ask_all(urls))
    return time.perf_counter() - start


async def _ask_all(urls: list[str]) -> None:
    places = asyncio.Semaphore(AT_ONCE)
    hosts = {urlsplit(url).netloc: asyncio.Semaphore(PER_HOST) for url in urls}

    async def ask(url: str) -> None:
        parts = urlsplit(url)
        async with hosts[parts.netloc], places:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
            whole = await reader.read()
            writer.close()
            assert whole.startswith(b"HTTP/1.1 200")

    await asyncio.gather(*map(ask, urls))


def _by_gates(urls: list[str]) -> dict[str, float]:
    """A run of its own over gates on these URLs, and over one of them, which is what starting costs."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        whole = _run(root / "all", urls)
        alone = _run(root / "one", urls[:1])
        with open_store(f"sqlite:///{root / 'all' / '.releasegate' / 'record.db'}", create=False) as store:
            results = store.results(store.releases()[-1].id)
    assert [result.status.value for result in results] == ["passed"] * len(urls)
    first = min(result.started_at for result in results)
    last = max(result.started_at.timestamp() + result.seconds for result in results)
    return {
        "looking": last - first.timestamp(),
        "whole run": whole,
        "whole run, less that of one gate": whole - alone,
        "sum of the gates' own times": sum(result.seconds for result in results),
    }


def _run(root: Path, urls: list[str]) -> float:
    (root / "gates").mkdir(parents=True)
    (root / "pytest.ini").write_text("[pytest]\nreleasegate_release = 1.0.0\n")
    (root / "gates" / "environments.yaml").write_text(
        "default: demo\nproduct: bench\nenvironments:\n  demo: {base_url: 'http://127.0.0.1:9'}\n"
    )
    lines = ["phase: predeploy", "items:", '  - item: "1"', "    title: Waiting", "    gates:"]
    lines += [f"      - {{id: g{number}, title: Answers, http: '{url}'}}" for number, url in enumerate(urls)]
    (root / "gates" / "all.yaml").write_text("\n".join(lines) + "\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "predeploy", *SILENT]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - start
