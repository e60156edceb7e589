"""`tcp`: ports that answer, and ports that must not."""

from __future__ import annotations

from dataclasses import dataclass
from errno import EADDRNOTAVAIL, EAFNOSUPPORT, ECONNREFUSED, ENETUNREACH
from socket import AF_INET6
from time import monotonic
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import StringConstraints, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters, format_duration, format_seconds, parse_duration
from pytest_releasegate.sources.sockets import FAMILIES, Line, addresses, split_address
from pytest_releasegate.sources.text import Expected, OneOrMore, fill, occurs
from pytest_releasegate.turns import at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Tcp"]

Port = Annotated[str, StringConstraints(min_length=1)]
_AT_ONCE = 16
_BANNER = 1024
_AT_ONCE_SECONDS = 0.1
"""How long a port that must answer may take to hang up, as a proxy does that has nothing behind it."""
_HOLLOW = "it takes the connection and closes it at once: is the service up behind it?"
_NO_WAY = (ENETUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT)


@dataclass(frozen=True, slots=True)
class _Look:
    """One address, and what became of connecting to it: seconds, or why not; and what it said."""

    name: str
    seconds: float = 0.0
    problem: str = ""
    refused: bool = False
    no_way: bool = False
    banner: str | None = None


class Tcp(Parameters):
    """Whether ports answer in time and what they say first; the denominator is the addresses tried.

    ```yaml
    tcp:
      open: ["app.example.org:443", "mail.example.org:25"]
      closed: "app.example.org:5432"
      family: each
      within: 2s
    ```
    """

    kind: ClassVar[str] = "tcp"
    waits: ClassVar[bool] = True
    shorthand: ClassVar[str] = "open"

    open: Annotated[tuple[Port, ...], OneOrMore] = ()
    """Ports that must answer, as `host:port` or `[address]:port`; may hold references."""
    closed: Annotated[tuple[Port, ...], OneOrMore] = ()
    """Ports that must not be reached from here, such as a database's; silence proves it only beside an open one."""
    family: Literal["any", "IPv4", "IPv6", "each"] = "any"
    """Over which addresses each open port must answer: any of the host's, those of one family, or of both."""
    within: Duration = parse_duration("5s")
    """The longest that a connection, and the banner that it starts with, may take."""
    banner: Annotated[tuple[Expected, ...], OneOrMore] = ()
    """A text, or a list of texts, that must stand in what each open port says first."""
    not_banner: Annotated[tuple[Expected, ...], OneOrMore] = ()
    """A text, or a list of texts, that must not stand there, such as the version of a server."""
    retry_for: Duration | None = None
    """How long to go on trying until all is as expected, such as while a service starts."""

    @model_validator(mode="after")
    def _something(self) -> Tcp:
        if not self.open and not self.closed:
            raise ValueError("name ports under `open`, under `closed`, or under both")
        if (self.banner or self.not_banner) and not self.open:
            raise ValueError("`banner` and `not_banner` are about the ports under `open`")
        for text in (*self.open, *self.closed):
            if "${" not in text:
                _require_port(text)
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Connect to all of them at once."""
        limit = context.remaining(self.within.total_seconds())
        names = [context.resolve(text, secret=False) for text in self.open]
        closed = [context.resolve(text, secret=False) for text in self.closed]
        looked = at_once(
            lambda ask: self._open_looks(ask[0], limit) if ask[1] else _looks(ask[0], limit),
            [*((name, True) for name in names), *((name, False) for name in closed)],
            _AT_ONCE,
        )
        opened, shut = looked[: len(names)], looked[len(names) :]
        for looks in opened:
            for one in looks:
                yield from self._answers(one, context)
        reached = any(not one.problem for looks in opened for one in looks)
        for looks in shut:
            for one in looks:
                yield _unreached(one, reached=reached)
        tried = [one for looks in opened + shut for one in looks]
        yield counted("addresses", sum(not one.no_way for one in tried), len(self.open) + len(self.closed))

    def _open_looks(self, name: str, limit: float) -> list[_Look]:
        listen = bool(self.banner or self.not_banner)
        if self.family == "any":
            looks = _looks(name, limit, knock=True, listen=listen)
            return [next((one for one in looks if not one.problem), looks[0])]
        wanted = FAMILIES if self.family == "each" else [self.family]
        return [one for family in wanted for one in _looks(name, limit, knock=True, listen=listen, family=family)]

    def _answers(self, one: _Look, context: Context) -> Iterator[Finding]:
        expected = f"answers within {format_duration(self.within)}"
        if one.problem:
            yield find(one.name, expected=expected, actual=one.problem, ok=Ok.CANNOT_TELL if one.no_way else False)
            return
        yield find(one.name, expected=expected, actual=f"after {one.seconds:.3f}s", ok=True)
        if one.banner is None:
            return
        context.attach(f"{one.name}.txt", "text/plain", one.banner.encode())
        for template in (*self.banner, *self.not_banner):
            yield _said(one, template, context, wanted=template in self.banner)


def _require_port(text: str) -> None:
    try:
        split_address(text)
    except CannotLook as wrong:
        raise ValueError(str(wrong)) from None


def _looks(name: str, limit: float, *, knock: bool = False, listen: bool = False, family: str = "") -> list[_Look]:
    """One look for each address of the host; where it has none of the family, that is the look."""
    host, port = split_address(name)
    found = addresses(host, limit, FAMILIES[family] if family else 0)
    if not found:
        return [_Look(f"{name} over {family}", problem=f"the name has no address for {family}")]
    return [_connect(name, kind, (number, port), limit, knock=knock, listen=listen) for kind, number in found]


def _connect(name: str, kind: int, address: tuple[str, int], limit: float, *, knock: bool, listen: bool) -> _Look:
    said = f"{name} over {'IPv6' if kind == AF_INET6 else 'IPv4'}"
    said += "" if name.startswith((address[0], f"[{address[0]}]")) else f" ({address[0]})"
    start = monotonic()
    try:
        with Line(address, limit) as line:
            seconds = monotonic() - start
            if knock and line.hung_up(_AT_ONCE_SECONDS):
                return _Look(said, problem=_HOLLOW)
            return _Look(said, seconds, banner=_banner(line) if listen else None)
    except TimeoutError:
        return _Look(said, problem=f"no answer within {format_seconds(limit)}")
    except OSError as error:
        words = error.strerror or str(error)
        if error.errno in _NO_WAY:
            return _Look(said, problem=f"{words}: look from a machine that has a way to it", no_way=True)
        return _Look(said, problem=words, refused=error.errno == ECONNREFUSED)


def _banner(line: Line) -> str:
    """What the server says of its own accord, until it pauses at the end of a line, closes, or the time is up."""
    body = b""
    try:
        while len(body) < _BANNER and not body.endswith(b"\n"):
            part = line.some(_BANNER - len(body))
            if not part:
                break
            body += part
    except (TimeoutError, ConnectionResetError):
        pass  # what was said before counts
    return body.decode(errors="replace")


def _said(one: _Look, template: str, context: Context, *, wanted: bool) -> Finding:
    resolved = context.resolve(template)
    name = f"{one.name} banner '{fill(resolved, context.release)}'"
    words = "present", "absent"
    expected = words[not wanted]
    if not one.banner:
        actual = "the port says nothing of its own accord"
        return find(name, expected=expected, actual=actual, ok=Ok.NO if wanted else Ok.CANNOT_TELL)
    there = occurs(resolved, one.banner, context.release)
    return find(name, expected=expected, actual=words[not there], ok=there is wanted)


def _unreached(one: _Look, *, reached: bool) -> Finding:
    if not one.problem:
        return find(one.name, expected="not reached", actual=f"answers after {one.seconds:.3f}s", ok=False)
    if one.refused or (reached and not one.no_way):
        return find(one.name, expected="not reached", actual=one.problem, ok=True)
    actual = f"{one.problem}, nor does any port under `open`, so the way there may be broken"
    return find(one.name, expected="not reached", actual=one.problem if one.no_way else actual, ok=Ok.CANNOT_TELL)
