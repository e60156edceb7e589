"""Documents in the styles that teams write, each with what must come of it beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checklist.markdown.listing import listing

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.md"))


def test_there_are_samples_and_each_has_its_listing():
    assert len(SAMPLES) >= 15
    assert [path.with_suffix(".txt").is_file() for path in SAMPLES] == [True] * len(SAMPLES)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_is_read_as_a_person_reads_it(path):
    assert listing(path) == path.with_suffix(".txt").read_text("utf-8")
