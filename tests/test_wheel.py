"""What a user installs holds all that it needs: without a clone, `releasegate demo` shows the whole thing."""

from __future__ import annotations

import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_gates_flows_pages_and_migrations(tmp_path: Path) -> None:
    wheel = next(iter(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("gates", "smoke", "load"):
        for path in (ROOT / folder).glob("*.[yp]*"):
            assert f"pytest_releasegate/reference/{folder}/{path.name}" in names
    for name in (
        "pytest_releasegate/py.typed",
        "pytest_releasegate/report/templates/release.html.j2",
        "releasegate_demo/migrations/003_care_plans.up.sql",
        "releasegate_demo/web/static/style.css",
    ):
        assert name in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests/")]
