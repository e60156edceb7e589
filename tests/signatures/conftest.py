"""Throw-away keys of every kind."""

from __future__ import annotations

import pytest

from tests.signatures.openssh import MADE, Keys, keygen


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """One key of each kind that needs no hardware."""
    folder = tmp_path_factory.mktemp("keys")
    for name, options in MADE.items():
        assert keygen("-q", *options, "-N", "", "-C", "", "-f", str(folder / name)).returncode == 0
    return Keys(folder)
