"""Which folder pytest takes for its root: a file that an option names can lead it astray."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["misled"]

_OWN = "--record"


def misled(config: pytest.Config) -> str:
    """What has led pytest away from the folder with the gates, and how to write it; empty where nothing has.

    pytest looks for its root before plugins have told it their options, so it takes the value of one for a test path,
    once there is such a file: the record of the first run leads the second one astray, and xdist's workers at once.
    """
    here = config.invocation_params.dir
    product = next((path for path in (here, *here.parents) if (path / "gates" / "environments.yaml").is_file()), None)
    said = config.getoption("rootdir", None) or config.getoption("inifilename", None)
    if product is None or said:
        return ""
    words = [str(word) for word in config.invocation_params.args]
    for option, value in pairwise(words):
        astray = option == _OWN or (option.startswith("--") and config.rootpath != product)
        if astray and "=" not in option and _leads_away(Path(here, value), product, must_exist=option != _OWN):
            what = f"`{option} {value}`: in two words pytest may take it for a test path, and look for its root there"
            return f"{what}, where no gates are\n    write {option}={value}"
    return ""


def _leads_away(path: Path, product: Path, *, must_exist: bool) -> bool:
    inside = product in (path.resolve(), *path.resolve().parents)
    return not inside and (path.exists() or not must_exist)
