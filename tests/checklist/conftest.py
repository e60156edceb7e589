"""A product in a folder: gate files as text, loaded as the plugin loads them."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.checklist.loader import Checklist, load
from pytest_releasegate.errors import BrokenPlan

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_releasegate.checklist.loader import Declaration


@dataclass
class Product:
    """The root folder of a product."""

    root: Path

    def write(self, name: str, text: str) -> Path:
        """A file of the product, with the text's own indentation taken away."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def load(self, text: str = "", name: str = "gates/a.yaml") -> Checklist:
        """The checklist, after the text was written into a gate file."""
        if text:
            self.write(name, text)
        return load(self.root / "gates", self.root)

    def gate(self, text: str) -> Declaration:
        """The only gate of the text."""
        (declaration,) = self.load(text).declarations
        return declaration

    def told(self, text: str = "", name: str = "gates/a.yaml") -> list[str]:
        """The lines that tell what is broken."""
        with pytest.raises(BrokenPlan) as broken:
            self.load(text, name)
        return str(broken.value).splitlines()


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """A product without files, in a folder `shop`."""
    root = tmp_path / "shop"
    (root / "gates").mkdir(parents=True)
    return Product(root)
