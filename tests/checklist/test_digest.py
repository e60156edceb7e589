"""The digest of a gate: changed by whatever is declared about it, and by nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

BASE = """
phase: deploy
step: after
items:
  - item: "1"
    title: Item
    gates:
      - id: "1.1"
        title: Gate
        severity: low
        topics: [one, two]
        needs: [x]
        when: maintenance
        valid_for: 24h
        due: 1h
        trigger: false
        observe: false
        http: {url: /x, within: 2s, header: {A: b, C: d}}
      - {id: x, title: X, http: /}
"""


def digest(product: Any, text: str) -> str:
    found: str = product.load(text).by_id["1.1"].digest
    return found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("phase: deploy", "# why\nphase: deploy   # here"),
        ("phase: deploy\nstep: after\n", "\n\n\nstep: after\nphase: deploy\n"),
        ("        title: Gate\n        severity: low\n", "        severity: low\n        title: 'Gate'\n"),
        ("{url: /x, within: 2s, header: {A: b, C: d}}", "{header: {C: d, A: b}, within: 2s, url: /x}"),
        ("within: 2s", "within: 2000ms"),
        ("valid_for: 24h", "valid_for: 1d"),
        ("title: Gate", "title: Gate\n        owner: alice"),
        ("step: after", "step: after\nowner: ops"),
        ("step: after", "step: after\ntitle: What the file is about"),
        ("trigger: false", "timeout: 5s"),
        ("        observe: false\n", ""),
        (
            "      - {id: x, title: X, http: /}",
            "      - {id: x, title: Y, http: /}\n      - {id: z, title: Z, http: /}",
        ),
    ],
)
def test_digest_is_the_same(product: Any, old: str, new: str) -> None:
    before = digest(product, BASE)
    assert old in BASE
    assert digest(product, BASE.replace(old, new)) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("phase: deploy\nstep: after", "phase: postdeploy"),
        ('item: "1"', 'item: "2"'),
        ("title: Item", "title: Item!"),
        ("title: Gate", "title: gate"),
        ("severity: low", "severity: medium"),
        ("[one, two]", "[one]"),
        ("[one, two]", "[one, two, three]"),
        ("needs: [x]", "needs: []"),
        ("when: maintenance", "when: not maintenance"),
        ("valid_for: 24h", "valid_for: 25h"),
        ("valid_for: 24h", "valid_for: 86400.5s"),
        ("        valid_for: 24h\n", ""),
        ("due: 1h", "due: 2h"),
        ("        due: 1h\n", ""),
        ("trigger: false", "trigger: true"),
        ("observe: false", "observe: true"),
        ("url: /x", "url: /y"),
        ("within: 2s", "within: 3s"),
        ("within: 2s, ", ""),
        ("within: 2s", "within: 2s, status: 201"),
        ("A: b", "A: B"),
    ],
)
def test_digest_is_another(product: Any, old: str, new: str) -> None:
    before = digest(product, BASE)
    assert old in BASE
    assert digest(product, BASE.replace(old, new)) != before


def test_digest_changes_with_the_id_and_with_the_kind(product: Any) -> None:
    digests = {
        product.load(f'phase: predeploy\nitems: [{{item: "1", title: T, gates: [{gate}]}}]').declarations[0].digest
        for gate in ("{id: a, title: t, http: /x}", "{id: b, title: t, http: /x}", "{id: a, title: t, attest: /x}")
    }
    assert len(digests) == 3


def test_digest_is_the_same_in_every_process(product: Any) -> None:
    product.write("gates/a.yaml", BASE)
    code = (
        "import sys; from pathlib import Path; from pytest_releasegate.checklist.loader import load;"
        "root = Path(sys.argv[1]); print(load(root / 'gates', root).by_id['1.1'].digest)"
    )
    command = [sys.executable, "-c", code, str(product.root)]
    done = subprocess.run(command, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(product, BASE)
