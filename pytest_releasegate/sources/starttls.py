"""How a server is asked for TLS before it speaks TLS: SMTP's STARTTLS, PostgreSQL's SSLRequest."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from pytest_releasegate.sources.sockets import Line

__all__ = ["PORTS", "NoTls", "ask"]

PORTS = {"https": 443, "wss": 443, "tls": 443, "smtps": 465, "smtp": 25, "postgresql": 5432, "postgres": 5432}
"""The schemes that endpoints may have, with the port that each means."""

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_MOST_LINES = 100


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
    _expect(_reply(line), "220", f"{who}: the mail server does not greet")
    line.send(b"EHLO releasegate.invalid\r\n")
    offered = _reply(line)
    _expect(offered, "250", f"{who}: the mail server does not answer EHLO")
    if "STARTTLS" not in (text[4:].strip().upper() for text in offered):
        raise NoTls("it does not offer STARTTLS")
    line.send(b"STARTTLS\r\n")
    answer = _reply(line)
    if not answer[0].startswith("220"):
        raise NoTls(f"it offers STARTTLS and refuses it: {_short(answer[0])}")


def _reply(line: Line) -> list[str]:
    lines = [line.line()]
    while lines[-1][3:4] == "-" and len(lines) < _MOST_LINES:
        lines.append(line.line())
    return lines


def _expect(reply: list[str], code: str, what: str) -> None:
    if not reply[-1].startswith(code):
        raise CannotLook(f"{what}: {_short(reply[-1])}", "is it SMTP that the port speaks?")


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:120]}..."


def _postgres(line: Line, who: str) -> None:
    """The request that PostgreSQL's manual describes under "SSL Session Encryption"; one byte is the answer."""
    line.send(_SSL_REQUEST)
    answer = line.exactly(1)
    if answer == b"N":
        raise NoTls("it says that it has no TLS (`ssl` is off)")
    if answer != b"S":
        raise CannotLook(f"{who}: it answers PostgreSQL's SSLRequest with neither S nor N", "is it PostgreSQL?")
