"""Who may sign with which key: OpenSSH's file of allowed signers (ssh-keygen(1), ALLOWED SIGNERS).

Two things are narrower than with OpenSSH. A time needs the suffix `Z`: without it `ssh-keygen` reads it in the zone of
the machine, so that one file would say different things in CI and on a laptop. And a broken line makes the whole file
broken, where `ssh-keygen` stops or goes on depending on the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pytest_releasegate.errors import BrokenPlan, Problem, nearest
from pytest_releasegate.model import Place
from pytest_releasegate.signatures.keys import KINDS, PublicKey, fingerprint, from_text
from pytest_releasegate.signatures.wire import SignatureProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Signer", "Signers", "matches", "parse"]

_OPTIONS = ("cert-authority", "namespaces", "valid-after", "valid-before")
_OPTION = re.compile(r'(?P<name>[A-Za-z-]+)(?:=(?:"(?P<value>(?:\\"|[^"])*)"(?=[,\s]|$)|(?P<bare>[^,\s]*)))?')
_KIND = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+[ \t]")
_TIME = re.compile(r"(\d{8})(?:(\d{4})(\d{2})?)?(Z?)")


@dataclass(frozen=True, slots=True)
class Signer:
    """One line of the file: which people may sign with the key, in which namespaces, from when until when."""

    principals: str
    key: PublicKey
    place: Place
    namespaces: str = ""
    """A list of patterns; empty for every namespace."""
    valid_after: datetime | None = None
    valid_before: datetime | None = None

    def objection(self, namespace: str, at: datetime) -> str:
        """Why the line does not allow a signature in the namespace at the instant; empty when it does."""
        if self.namespaces and not matches(namespace, self.namespaces):
            return f"{self.place} allows the key for '{self.namespaces}', not for '{namespace}'"
        if self.valid_after and at < self.valid_after:
            return f"{self.place} allows the key from {_told(self.valid_after)}, it was used at {_told(at)}"
        if self.valid_before and at > self.valid_before:
            return f"{self.place} allows the key until {_told(self.valid_before)}, it was used at {_told(at)}"
        return ""


@dataclass(frozen=True, slots=True)
class Signers:
    """All lines of a file, in their order."""

    lines: tuple[Signer, ...] = ()
    file: str = ""

    def allows(self, person: str, key: PublicKey, namespace: str, at: datetime) -> str:
        """Why the person may not sign with the key in the namespace at the instant; empty when one line allows it."""
        known = [line for line in self.lines if line.key == key]
        if not known:
            return f"the key {fingerprint(key)} is nobody's in {self.file}"
        if not (theirs := [line for line in known if matches(person, line.principals)]):
            owners = ", ".join(f"'{line.principals}'" for line in known)
            return f"the key {fingerprint(key)} is of {owners} in {self.file}, not of '{person}'"
        objections = [line.objection(namespace, at) for line in theirs]
        return "" if "" in objections else objections[0]


def matches(text: str, patterns: str) -> bool:
    """Whether a list such as `*@example.com,!guest@*` admits the text (ssh_config(5), PATTERNS)."""
    admitted = False
    for pattern in patterns.split(","):
        refuses = pattern.startswith("!")
        if _fits(text, pattern.removeprefix("!")):
            if refuses:
                return False
            admitted = True
    return admitted


def parse(text: str, file: str) -> Signers:
    """The signers of a file's text; raises `BrokenPlan` with every problem at once."""
    problems: list[Problem] = []
    signers = []
    for number, line in enumerate(text.split("\n"), 1):
        if (said := line.strip()) and not said.startswith("#"):
            column = len(line) - len(line.lstrip()) + 1
            try:
                signers.append(_signer(said, Place(file, number, column)))
            except _Refused as refused:
                problems.append(Problem(Place(file, number, column + refused.offset), refused.what, refused.hint))
    if problems:
        raise BrokenPlan(problems)
    return Signers(tuple(signers), file)


class _Refused(Exception):
    def __init__(self, offset: int, what: str, hint: str = "") -> None:
        self.offset, self.what, self.hint = offset, what, hint
        super().__init__(what)


def _signer(line: str, place: Place) -> Signer:
    principals, after = _principals(line)
    options: dict[str, str] = {}
    if not _KIND.match(line, after):
        options, after = _options(line, after)
    try:
        key = from_text(line[after:])
    except SignatureProblem as wrong:
        hint = f"PRINCIPALS [OPTIONS] KEYTYPE BASE64; key types: {', '.join(KINDS)}"
        raise _Refused(after, str(wrong), hint) from None
    since, until = (_time(options.get(name, ""), name, line) for name in ("valid-after", "valid-before"))
    if since and until and until <= since:
        raise _Refused(line.lower().index("valid-before"), "valid-before is not later than valid-after")
    return Signer(principals, key, place, options.get("namespaces", ""), since, until)


def _principals(line: str) -> tuple[str, int]:
    """The first field, and where the next one begins."""
    found = re.match(r'(?:"([^"]*)"|([^\s"]\S*))\s+', line)
    if not found:
        raise _Refused(0, "expected PRINCIPALS [OPTIONS] KEYTYPE BASE64", "a quoted field needs both quotes")
    principals = found[1] if found[1] is not None else found[2]
    if not principals or "" in principals.split(","):
        raise _Refused(0, f"an empty name among the principals '{principals}'", "separate them by one comma, no space")
    return principals, found.end()


def _options(line: str, at: int) -> tuple[dict[str, str], int]:
    """The options that begin there, by their names in lower case, and where the key begins."""
    found: dict[str, str] = {}
    for start, option in _each_option(line, at):
        name, value = option["name"].lower(), option["value"]
        if name not in _OPTIONS:
            raise _Refused(start, f"unknown option '{option['name']}'", nearest(name, _OPTIONS))
        if name == "cert-authority":
            hint = "name each key in a line of its own"
            raise _Refused(start, "certificates are not supported: 'cert-authority' is refused", hint)
        if not value:
            raise _Refused(start, f"option '{name}' needs a value in quotes", f'{name}="..."')
        if name in found:
            raise _Refused(start, f"option '{name}' is given twice")
        found[name] = value.replace('\\"', '"')
        at = option.end()
    return found, at + len(line[at:]) - len(line[at:].lstrip())


def _each_option(line: str, at: int) -> Iterator[tuple[int, re.Match[str]]]:
    while True:
        option = _OPTION.match(line, at)
        if not option:
            raise _Refused(at, "expected an option or a key type", f"options: {', '.join(_OPTIONS)}")
        yield at, option
        at = option.end()
        if line[at : at + 1] != ",":
            break
        at += 1
    if not line[at : at + 1].isspace():
        raise _Refused(at, "expected a comma or a blank after the option")


def _time(value: str, name: str, line: str) -> datetime | None:
    if not value:
        return None
    offset = line.lower().index(name)
    found = _TIME.fullmatch(value)
    if not found:
        raise _Refused(offset, f"{name} is '{value}'", "write YYYYMMDDZ, YYYYMMDDHHMMZ or YYYYMMDDHHMMSSZ")
    if not found[4]:
        what = f"{name} is '{value}', in no zone: each machine would read it in its own"
        raise _Refused(offset, what, f"say it in UTC, with a Z: {value}Z")
    try:
        digits = f"{found[1]}{found[2] or '0000'}{found[3] or '00'}"
        return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise _Refused(offset, f"{name} is '{value}', which is no date and time") from None


def _fits(text: str, pattern: str) -> bool:
    """Whether the whole text fits a pattern with `*` and `?`; case counts, and nothing else is special."""
    parts = (".*" if each == "*" else "." if each == "?" else re.escape(each) for each in re.sub(r"\*+", "*", pattern))
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _told(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
