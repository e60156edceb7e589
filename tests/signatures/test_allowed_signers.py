"""Allowed signers: the same lines judged by `ssh-keygen -Y verify` and here, and every mistake told at its place."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.errors import BrokenPlan
from pytest_releasegate.signatures.allowed_signers import parse
from pytest_releasegate.signatures.keys import from_text
from tests.signatures.openssh import NAMESPACE, Keys, judged

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 3, 2, 12, 30, 45, tzinfo=UTC)
MESSAGE = b"the decision"
CASES = {
    "ann@example.com KEY": True,
    "ann@example.com KEY ann at her laptop": True,
    "  ann@example.com\t KEY": True,
    "Ann@example.com KEY": False,
    "bob@example.com KEY": False,
    "bob@example.com,ann@example.com KEY": True,
    '"ann@example.com" KEY': True,
    '"bob@example.com,ann@example.com" KEY': True,
    "*@example.com KEY": True,
    "*@EXAMPLE.com KEY": False,
    "ann@example.co? KEY": True,
    "ann@example.com? KEY": False,
    "a*n@*.c*m KEY": True,
    "* KEY": True,
    "**@example.com KEY": True,
    "ann@example.[c]om KEY": False,
    "*@example.com,!ann@example.com KEY": False,
    "!ann@example.com,*@example.com KEY": False,
    "*@example.com,!bob@* KEY": True,
    "!bob@example.com KEY": False,
    "ann@example.com OTHER": False,
    "ann@example.com OTHER\nann@example.com KEY": True,
    "bob@example.com KEY\nann@example.com KEY": True,
    "# ann@example.com OTHER\n\n   \n  # more\nann@example.com KEY": True,
    '# "\n* KEY': True,
    "": False,
    'ann@example.com namespaces="releasegate" KEY': True,
    'ann@example.com namespaces="file" KEY': False,
    'ann@example.com namespaces="file,releasegate" KEY': True,
    'ann@example.com namespaces="release*" KEY': True,
    'ann@example.com namespaces="*,!releasegate" KEY': False,
    'ann@example.com NameSpaces="releasegate" KEY': True,
    'ann@example.com namespaces="file" KEY\nann@example.com KEY': True,
    'ann@example.com valid-after="20260101Z" KEY': True,
    'ann@example.com valid-after="20260302123045Z" KEY': True,
    'ann@example.com valid-after="20260302123046Z" KEY': False,
    'ann@example.com valid-after="202603021231Z" KEY': False,
    'ann@example.com valid-after="20260303Z" KEY': False,
    'ann@example.com valid-before="20260302Z" KEY': False,
    'ann@example.com valid-before="20260302123045Z" KEY': True,
    'ann@example.com valid-before="20260302123044Z" KEY': False,
    'ann@example.com valid-before="202603021230Z" KEY': False,
    'ann@example.com valid-before="20270101Z",valid-after="20250101Z" KEY': True,
    'ann@example.com valid-after="20250101Z",namespaces="releasegate",valid-before="20270101Z" KEY': True,
    'ann@example.com valid-before="20260101Z" KEY\nann@example.com valid-after="20260101Z" KEY': True,
}
"""The files, with KEY for the key that signed and OTHER for another one: whether the signature counts."""


@pytest.fixture(scope="module")
def armored(keys: Keys) -> str:
    return keys.sign("ed25519", MESSAGE)


def filled(file: str, keys: Keys) -> str:
    return file.replace("KEY", keys.public("ed25519")).replace("OTHER", keys.public("p256")) + "\n"


def test_both_judge_alike(keys: Keys, armored: str, tmp_path: Path) -> None:
    key, verify_time = from_text(keys.public("ed25519")), f"-Overify-time={AT:%Y%m%d%H%M%S}Z"
    theirs, ours = {}, {}
    for file in CASES:
        text = filled(file, keys)
        theirs[file] = judged(tmp_path, text, "ann@example.com", armored, MESSAGE, verify_time)
        ours[file] = parse(text, "signers").allows("ann@example.com", key, NAMESPACE, AT) == ""
    assert theirs == CASES
    assert ours == CASES


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("", "the key FINGERPRINT is nobody's in signers"),
        ("bob KEY\n*@b.example KEY", "the key FINGERPRINT is of 'bob', '*@b.example' in signers, not of 'ann'"),
        ('\nann namespaces="file" KEY', "signers:2:1 allows the key for 'file', not for 'releasegate'"),
        (
            'ann valid-after="20260401Z" KEY',
            "signers:1:1 allows the key from 2026-04-01T00:00:00Z, it was used at 2026-03-02T12:30:45Z",
        ),
        (
            'ann valid-before="20260101Z" KEY',
            "signers:1:1 allows the key until 2026-01-01T00:00:00Z, it was used at 2026-03-02T12:30:45Z",
        ),
    ],
)
def test_objection_says_why(file: str, sentence: str, keys: Keys) -> None:
    from pytest_releasegate.signatures.sshsig import fingerprint

    key = from_text(keys.public("ed25519"))
    expected = sentence.replace("FINGERPRINT", fingerprint(key))
    assert parse(filled(file, keys), "signers").allows("ann", key, NAMESPACE, AT) == expected


def test_every_mistake_is_told_at_its_place(keys: Keys) -> None:
    lines = {
        "ann": "1: expected PRINCIPALS [OPTIONS] KEYTYPE BASE64",
        '"ann KEY': "1: expected PRINCIPALS [OPTIONS] KEYTYPE BASE64",
        "ann,,bob KEY": "1: an empty name among the principals 'ann,,bob'",
        '"" KEY': "1: an empty name among the principals ''",
        "ann cert-authority KEY": "5: certificates are not supported: 'cert-authority' is refused",
        'ann namespace="x" KEY': "5: unknown option 'namespace'",
        "ann namespaces=x KEY": "5: option 'namespaces' needs a value in quotes",
        "ann namespaces KEY": "5: option 'namespaces' needs a value in quotes",
        'ann namespaces="x KEY': "5: option 'namespaces' needs a value in quotes",
        'ann namespaces="x",namespaces="y" KEY': "20: option 'namespaces' is given twice",
        'ann namespaces="x", KEY': "20: expected an option or a key type",
        'ann valid-after="20260101" KEY': "5: valid-after is '20260101', in no zone: each machine would read",
        'ann valid-after="2026-01-01Z" KEY': "5: valid-after is '2026-01-01Z'",
        'ann valid-before="20261301Z" KEY': "5: valid-before is '20261301Z', which is no date and time",
        'ann valid-after="20260102Z",valid-before="20260101Z" KEY': "29: valid-before is not later than valid-after",
        "  ann ssh-ed25519 AAAA": "7: the key is cut short or its lengths are wrong",
        "ann ssh-ed25519 ????": "5: the key is not base64",
        "ann ssh-dss AAAAB3NzaC1kc3M=": "5: the key is of the kind 'ssh-dss': supported are ssh-ed25519, ",
    }
    with pytest.raises(BrokenPlan) as caught:
        parse("".join(filled(line, keys) for line in lines), "gates/allowed_signers")
    told = [problem.lines() for problem in caught.value.problems]
    expected = [f"gates/allowed_signers:{number}:{rest}" for number, rest in enumerate(lines.values(), 1)]
    assert [head for (head, *_), start in zip(told, expected, strict=True) if not head.startswith(start)] == []
    assert "    say it in UTC, with a Z: 20260101Z" in told[11]
    assert "    did you mean 'namespaces'? known: cert-authority, namespaces, valid-after, valid-before" in told[5]
