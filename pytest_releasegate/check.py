"""How a check looks: the protocol, what it is given, and how its findings are judged."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from os import environ
from threading import Lock
from time import monotonic, sleep
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pytest_releasegate.errors import CannotLook, nearest
from pytest_releasegate.model import Environment, Evidence, Finding, Kept, Ok, Release, Status
from pytest_releasegate.spellings import basic, passwords, spellings
from pytest_releasegate.turns import queued

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "Check",
    "Clock",
    "Context",
    "Memory",
    "Secrets",
    "Shared",
    "SystemClock",
    "Which",
    "counted",
    "find",
    "judge",
]

_REFERENCE = re.compile(r"\$\{(?P<source>[a-z]+):(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}")
_VALUE = re.compile(r"\$\{value:([A-Za-z_][A-Za-z0-9_]*)\}")
_TEXTS = ("json", "xml", "yaml", "x-har", "javascript", "x-www-form-urlencoded", "sql", "toml")
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SHORTEST_SECRET = 6
_SHORTEST_WORD = 3
"""Shorter values are struck out only where they stand alone; still shorter ones, and ports, are in every text."""
_CUT = re.compile(r"\.\.\.|…|\n\[cut")


class Clock(Protocol):
    """The only way to learn or spend time; instants are UTC and aware, spans are seconds."""

    def now(self) -> datetime:
        """The present instant."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait so long."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return monotonic()

    def sleep(self, seconds: float) -> None:
        """Block for so many seconds."""
        sleep(seconds)


Which = Literal["this", "first", "previous"]
"""Whose measurement: the newest or the oldest of this release, the oldest since a step of it was last reopened; or the
newest of the release before it in the environment."""


class Memory(Protocol):
    """What earlier gates and releases kept in the record."""

    def recorded(self, name: str, *, of: Which = "this") -> Kept | None:
        """A measurement kept under that name; None where there is none."""
        ...


class NoMemory:
    """A record that holds nothing."""

    def recorded(self, name: str, *, of: Which = "this") -> Kept | None:  # noqa: ARG002
        """Nothing, ever."""
        return None


class Shared:
    """What the gates of one step share in one process: which checks run in it, and what one has seen just now."""

    def __init__(self, checks: Sequence[Any] = ()) -> None:
        self.checks = tuple(checks)
        self._seen: dict[Hashable, tuple[float, Any]] = {}

    def see(self, key: Hashable, value: Any, at: float) -> None:
        """Keep what was seen, as of an instant of the monotonic clock."""
        self._seen[key] = (at, value)

    def seen(self, key: Hashable, since: float) -> Any:
        """What was seen since that instant; None where nothing was."""
        at, value = self._seen.get(key, (since, None))
        return value if at >= since else None

    def forget(self) -> None:
        """Let go of all that was seen: something is about to write."""
        self._seen.clear()


class Secrets:
    """Values that came by reference, kept only to be struck out of whatever leaves the process."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = environ if variables is None else variables
        self._known: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._adding = Lock()

    def resolve(self, text: str, *, secret: bool = True) -> str:
        """Put in the value of each `${env:NAME}`; raises `CannotLook` when one is unset."""

        __tracebackhide__ = True

        def value(match: re.Match[str]) -> str:
            __tracebackhide__ = True
            found = self._lookup(match)
            if secret or _SECRET_NAME.search(match["name"]):
                self.add(found, f"env:{match['name']}")
            return found

        return _REFERENCE.sub(value, text)

    def add(self, value: str, name: str) -> None:
        """Strike out this value from now on, and the password in it when it is a connection string."""
        known: dict[str, str] = {}
        words: dict[str, str] = {}
        for part in (value, *passwords(value)):
            if len(part) >= _SHORTEST_SECRET:
                known |= dict.fromkeys(spellings(part), name)
            elif len(part) >= _SHORTEST_WORD and not part.isdecimal():
                words[part] = name
        with self._adding:
            if known.items() <= self._known.items() and words.items() <= self._words.items():
                return
            new = not (known.keys() <= self._known.keys() and words.keys() <= self._words.keys())
            # other dicts, since another look may be going over these
            self._known, self._words = self._known | known, self._words | words
            self._pattern = self._compiled() if new else self._pattern

    def spellings(self) -> tuple[dict[str, str], dict[str, str]]:
        """What is struck out, with its name: wherever it is found, and only where it stands alone."""
        return dict(self._known), dict(self._words)

    def add_password(self, url: str, name: str) -> None:
        """Strike out the password in a URL from now on, as it stands there and as it is sent."""
        for text in basic(url):
            self.add(text, name)

    def scrub(self, text: str) -> str:
        """The text with each known value replaced by its reference."""
        pattern = self._pattern
        if pattern is None:
            return text
        clean = pattern.sub(lambda found: f"${{{self._known.get(found[0]) or self._words[found[0]]}}}", text)
        return self._without_begun(clean)

    def _compiled(self) -> re.Pattern[str]:
        whole = [re.escape(value) for value in sorted(self._known, key=len, reverse=True)]
        words = [rf"(?<!\w){re.escape(value)}(?!\w)" for value in sorted(self._words, key=len, reverse=True)]
        return re.compile("|".join(whole + words))

    def _without_begun(self, text: str) -> str:
        """The text without the beginnings of values that were cut off in the middle of them."""
        if not _CUT.search(text):
            return text
        size = _SHORTEST_SECRET
        tails = {value[at : at + size] for value in self._known for at in range(len(value) - size + 1)}
        parts: list[str] = []
        last = 0
        for cut in _CUT.finditer(text):
            end = cut.start()
            if text[max(last, end - size) : end] in tails and (found := self._begun(text[last:end])):
                parts += [text[last : end - found[0]], f"${{{found[1]}}}"]
                last = end
        return "".join(parts) + text[last:]

    def _begun(self, text: str) -> tuple[int, str] | None:
        """How much of a value stands at the end of the text, and the name of that value; the longest of all."""
        lengths = ((value, name, length) for value, name in self._known.items() for length in range(len(value)))
        found = (
            (size, name) for value, name, size in lengths if size >= _SHORTEST_SECRET and text.endswith(value[:size])
        )
        return max(found, default=None)

    def scrub_finding(self, finding: Finding) -> Finding:
        """The finding with each of its texts scrubbed."""
        name, expected, actual = map(self.scrub, (finding.name, finding.expected, finding.actual))
        return replace(finding, name=name, expected=expected, actual=actual)

    def scrub_bytes(self, body: bytes) -> bytes:
        """The bytes with each known value replaced by its reference."""
        return self.scrub(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def scrub_value(self, value: Any) -> Any:
        """The JSON value with each text in it scrubbed, keys too."""
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, dict):
            return {self.scrub_value(key): self.scrub_value(part) for key, part in value.items()}
        return [self.scrub_value(part) for part in value] if isinstance(value, list | tuple) else value

    def _lookup(self, match: re.Match[str]) -> str:
        __tracebackhide__ = True
        source, name = match["source"], match["name"]
        if source != "env":
            raise CannotLook(f"reference {match[0]}: unknown source '{source}'", "known: env, value")
        value = self._variables.get(name)
        if not value:
            raise CannotLook(f"reference {match[0]}: the environment variable {name} is not set", f"export {name}=...")
        return value


@dataclass
class Context:
    """What a check is given: the target, the release, time, and where evidence and measurements go."""

    environment: Environment
    release: Release
    root: Path
    clock: Clock = field(default_factory=SystemClock)
    memory: Memory = field(default_factory=NoMemory)
    secrets: Secrets = field(default_factory=Secrets)
    deadline: float | None = None
    attached: list[tuple[Evidence, bytes]] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    reserved: dict[str, list[IO[bytes]]] = field(default_factory=dict)
    """The connections, by database, that the gate may open without waiting for others."""
    shared: Shared = field(default_factory=Shared)

    def resolve(self, text: str, *, secret: bool = True) -> str:
        """The text with its references put in; raises `CannotLook` when one is unset.

        `${value:NAME}` is a value of the environment, `${env:NAME}` a variable of the process.
        """
        return self.secrets.resolve(_VALUE.sub(self._named, text), secret=secret)

    def url(self, path: str) -> str:
        """An absolute URL: the path under the environment's base URL, or the URL itself when it has a scheme."""
        url = self.resolve(path, secret=False)
        if not _SCHEME.match(url):
            base, name = self.environment.base_url, self.environment.name
            if not base:
                raise CannotLook(f"environment '{name}' has no base_url", "declare it in environments.yaml")
            url = self.resolve(base, secret=False).rstrip("/") + "/" + url.lstrip("/")
        self.secrets.add_password(url, "url")
        return url

    def remaining(self, at_most: float = 60.0) -> float:
        """Seconds that one operation may still take, at most `at_most`; raises `CannotLook` when none is left."""
        if self.deadline is None:
            return at_most
        left = self.deadline + queued() - self.clock.monotonic()
        if left <= 0:
            raise CannotLook("the gate's time is used up", "raise its `timeout`")
        return min(left, at_most)

    def require_permission(self, name: str, what: str = "this gate") -> None:
        """Raise `CannotLook` where the environment does not allow it, such as `writes_through_app` or `probes`."""
        if name not in self.environment.allow:
            raise CannotLook(
                f"{what} needs `{name}`, which the environment '{self.environment.name}' does not allow",
                f"declare `allow: [{name}]` for it in environments.yaml",
            )
        self.shared.forget()

    def attach(self, name: str, media_type: str, body: bytes) -> None:
        """Keep bytes as evidence, with known secrets struck out of text."""
        clean = self.secrets.scrub_bytes(body) if _is_text(media_type) else body
        digest = hashlib.sha256(clean).hexdigest()
        self.attached.append((Evidence(self.secrets.scrub(name), media_type, digest, len(clean)), clean))

    def keep(self, name: str, value: Any) -> None:
        """Leave a JSON value in the record under a name, for later gates and releases to compare with."""
        self.kept[name] = value

    def recorded(self, name: str, *, of: Which = "this") -> Kept | None:
        """A measurement kept under that name; None where there is none."""
        return self.memory.recorded(name, of=of)

    def _named(self, match: re.Match[str]) -> str:
        values = self.environment.values
        if match[1] not in values:
            hint = nearest(match[1], list(values)) if values else "declare it under `values:`"
            raise CannotLook(f"reference {match[0]}: environment '{self.environment.name}' has no such value", hint)
        return values[match[1]]


class Check(Protocol):
    """A kind of looking: typed parameters and one method; it yields findings or raises, and decides nothing."""

    kind: ClassVar[str]

    def look(self, context: Context) -> Iterator[Finding]:
        """Yield what was found; raise `CannotLook` when looking is impossible."""
        ...


def find(name: str, *, expected: object, actual: object, ok: bool | Ok, observe: bool = False) -> Finding:
    """A finding; `ok` is a bool or `Ok.CANNOT_TELL`."""
    verdict = (Ok.YES if ok else Ok.NO) if isinstance(ok, bool) else Ok(ok)
    return Finding(name, str(expected), str(actual), verdict, observe)


def counted(what: str, number: int, least: int = 1) -> Finding:
    """The denominator of a check: how many of something were looked at; fewer than `least` cannot tell."""
    ok = Ok.YES if number >= max(least, 1) else Ok.CANNOT_TELL
    return Finding(f"{what} looked at", f">= {max(least, 1)}", str(number), ok)


def judge(findings: Iterable[Finding]) -> Status:
    """The status that findings mean: none is `error`, a `no` is `failed`, a `cannot tell` is `inconclusive`."""
    seen = {finding.ok for finding in findings if not finding.observe}
    if not seen:
        return Status.ERROR
    if Ok.NO in seen:
        return Status.FAILED
    return Status.PASSED if seen == {Ok.YES} else Status.INCONCLUSIVE


def _is_text(media_type: str) -> bool:
    plain = media_type.split(";")[0].strip().lower()
    return plain.startswith("text/") or plain.endswith(_TEXTS)


def seconds(span: timedelta | None, default: float) -> float:
    """A span in seconds, or the default where there is none."""
    return default if span is None else span.total_seconds()
