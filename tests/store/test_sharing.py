"""A record in PostgreSQL shares with one in a file, both ways."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_releasegate.lifecycle.bundle import Directory, pull, push
from pytest_releasegate.store import open_store
from tests.lifecycle.test_bundle import filled, seen

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_releasegate.store import Store


def test_everything_travels_both_ways(store: Store, tmp_path: Path) -> None:
    there, back = Directory(tmp_path / "there"), Directory(tmp_path / "back")
    with open_store(f"sqlite:///{tmp_path}/a.db") as first, open_store(f"sqlite:///{tmp_path}/b.db") as last:
        filled(first)
        push(first, there)
        pull(store, there)
        push(store, back)
        pull(last, back)
        assert seen(first) == seen(store) == seen(last)
        assert (pull(first, back), pull(store, back)) == (Counter(), Counter())
        assert [each.verify() for each in (first, store, last)] == [[], [], []]
