"""What the plugin costs a run that asks for no gates: `pytest --collect-only` on an empty folder, with and without."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 15
OTHERS = (
    "playwright",
    "locust",
    "allure_pytest",
    "hypothesispytest",
    "timeout",
    "xdist",
    "xdist.looponfail",
    "base_url",
    "platformdirs",
)
SILENT = [word for name in OTHERS for word in ("-p", f"no:{name}")]


def main() -> None:
    """Interleave both ways, and print medians, minima and their ratios."""
    times: dict[str, list[float]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            times["without"].append(measure(folder, "-p", "no:releasegate"))
            times["with"].append(measure(folder))
    for name, values in times.items():
        print(
            f"{name:8} the plugin: median {1000 * statistics.median(values):6.1f} ms, least {1000 * min(values):6.1f}"
        )
    ratio = statistics.median(times["with"]) / statistics.median(times["without"])
    print(f"startup: with / without = {ratio:.3f} (medians), {min(times['with']) / min(times['without']):.3f} (least)")


def measure(folder: str, *words: str) -> float:
    """Seconds of one run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *SILENT, *words]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return time.perf_counter() - start
