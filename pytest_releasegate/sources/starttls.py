"""How a server is asked for TLS before it speaks TLS: SMTP's STARTTLS, PostgreSQL's SSLRequest."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.text import visible

if TYPE_CHECKING:
    from pytest_releasegate.sources.sockets import Line

__all__ = ["PORTS", "NoTls", "Plain", "ask", "plain"]

PORTS = {"https": 443, "wss": 443, "tls": 443, "smtps": 465, "smtp": 25, "postgresql": 5432, "postgres": 5432}
"""The schemes that endpoints may have, with the port that each means."""

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_MOST_LINES = 100


@dataclass(frozen=True, slots=True)
class Plain:
    """What becomes of who comes without TLS: refused or let on to a login; None where it cannot be told."""

    refused: bool | None
    words: str


class NoTls(CannotLook):
    """The server was asked for TLS and said that it has none."""


def ask(line: Line, scheme: str, who: str) -> None:
    """Bring the server to where it expects a handshake; raises `NoTls`, `CannotLook` or `OSError`."""
    if scheme == "smtp":
        _smtp(line, who)
    elif scheme.startswith("postgres"):
        _postgres(line, who)


def _smtp(line: Line, who: str) -> None:
    """The steps of RFC 3207."""
    if "STARTTLS" not in _offered(line, who):
        raise NoTls("it does not offer STARTTLS")
    line.send(b"STARTTLS\r\n")
    answer = _reply(line)
    if not answer[0].startswith("220"):
        raise NoTls(f"it offers STARTTLS and refuses it: {_short(answer[0])}")


def _offered(line: Line, who: str) -> list[str]:
    """What a mail server can do, by the first word of each line."""
    _expect(_reply(line), "220", f"{who}: the mail server does not greet")
    line.send(b"EHLO releasegate.invalid\r\n")
    offered = _reply(line)
    _expect(offered, "250", f"{who}: the mail server does not answer EHLO")
    return [(text[4:].split() or [""])[0].upper() for text in offered]


def _reply(line: Line) -> list[str]:
    lines = [line.line()]
    while lines[-1][3:4] == "-" and len(lines) < _MOST_LINES:
        lines.append(line.line())
    return lines


def _expect(reply: list[str], code: str, what: str) -> None:
    if not reply[-1].startswith(code):
        raise CannotLook(f"{what}: {_short(reply[-1])}", "is it SMTP that the port speaks?")


def _short(text: str) -> str:
    return visible(text if len(text) <= 120 else f"{text[:120]}...")


def _postgres(line: Line, who: str) -> None:
    """The request that PostgreSQL's manual describes under "SSL Session Encryption"; one byte is the answer."""
    line.send(_SSL_REQUEST)
    answer = line.exactly(1)
    if answer == b"N":
        raise NoTls("it says that it has no TLS (`ssl` is off)")
    if answer != b"S":
        raise CannotLook(f"{who}: it answers PostgreSQL's SSLRequest with neither S nor N", "is it PostgreSQL?")


def plain(line: Line, login: tuple[str, str] | None, who: str) -> Plain:
    """Come without TLS, as far as to where a password would be asked for."""
    if login is None:
        offers = any(word == "AUTH" or word.startswith("AUTH=") for word in _offered(line, who))
        return Plain(not offers, "it offers AUTH before STARTTLS" if offers else "no login")
    if not login[0]:  # PostgreSQL refuses who names no user, with TLS or without
        return Plain(None, "not tried: the connection string names no user")
    body = b"".join(part.encode() + b"\0" for part in ("user", login[0], "database", login[1], ""))
    line.send(struct.pack("!ii", 8 + len(body), _PROTOCOL) + body)
    kind, size = line.exactly(1), struct.unpack("!i", line.exactly(4))[0]
    if kind == b"R":
        return Plain(False, "it goes on to the login: `pg_hba.conf` lets in who comes without TLS")
    if kind != b"E" or not 4 < size < _LARGEST:
        raise CannotLook(f"{who}: it does not answer PostgreSQL's start of a connection", "is it PostgreSQL?")
    fields = {part[:1]: part[1:].decode(errors="replace") for part in line.exactly(size - 4).split(b"\0") if part}
    code, by = fields.get(b"C", ""), fields.get(b"R", _DOORKEEPER)
    refused = True if code == _NOT_LET_IN and by == _DOORKEEPER else None
    code = visible(code)
    return Plain(refused, f"refused ({code})" if refused else f"an error of another kind ({code})")


_PROTOCOL = 3 << 16
_LARGEST = 64 * 1024
_DOORKEEPER = "ClientAuthentication"
"""The routine of PostgreSQL that goes by `pg_hba.conf`; others say 28000 too, of a role that it does not have."""
_NOT_LET_IN = "28000"
"""The SQLSTATE of who is turned away by `pg_hba.conf` before a password is asked for."""
