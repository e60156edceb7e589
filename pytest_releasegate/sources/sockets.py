"""TCP connections whose every step ends by one instant, however slowly the other side speaks."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from ipaddress import ip_address
from ssl import MemoryBIO, SSLWantReadError
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.params import format_seconds
from pytest_releasegate.turns import turn

if TYPE_CHECKING:
    from ssl import SSLContext, SSLObject
    from types import TracebackType

__all__ = ["FAMILIES", "Address", "Line", "addresses", "is_loopback", "is_number", "split_address"]

FAMILIES = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}
_MOST = 64 * 1024

Address = tuple[str, int]
"""A host, by name or number, and a port."""


def split_address(text: str, port: int = 0) -> Address:
    """Read `host:port`, `[::1]:port` or, where there is a port already, `host`; raises `CannotLook` otherwise."""
    host, found, rest = text.rpartition(":")
    if not found or (":" in host and not host.endswith("]")):
        host, rest = text, str(port)
    number = int(rest) if rest.isascii() and rest.isdigit() else 0
    host = host.removeprefix("[").removesuffix("]")
    if not host or "/" in host or not 0 < number < 65536:
        raise CannotLook(f"'{text}' names no host and port", "write host:port, or [address]:port for IPv6")
    return host, number


def addresses(host: str, limit: float, family: int = socket.AF_UNSPEC) -> list[tuple[int, str]]:
    """The families and numbers of a host by the system's resolver; empty where it has none of that family."""
    found: list[tuple[int, str]] = []
    failed: list[OSError] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failed.append(error if isinstance(error, OSError) else OSError(str(error)))
            return
        found.extend((kind, str(address[0])) for kind, _, _, _, address in answers)

    thread = Thread(target=ask, name="releasegate-resolve", daemon=True)  # a lookup cannot be bounded otherwise
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        raise CannotLook(
            f"{host}: the name was not resolved within {format_seconds(limit)}", "does the resolver answer?"
        )
    if failed and not (family and getattr(failed[0], "errno", 0) in _NONE_OF_FAMILY):
        raise CannotLook(f"{host}: {failed[0].strerror or failed[0]}", "is the name right?")
    return list(dict.fromkeys(found))


_NONE_OF_FAMILY = (socket.EAI_ADDRFAMILY, socket.EAI_NODATA) if hasattr(socket, "EAI_ADDRFAMILY") else ()


def is_number(host: str) -> bool:
    """Whether the host is an address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether the host, by name or number, is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Line:
    """A connection; whatever is not done when its time is up raises `TimeoutError`."""

    def __init__(self, address: Address, limit: float) -> None:
        with ExitStack() as stack:
            stack.enter_context(turn(address[0]))
            self._until = monotonic() + limit
            self.socket = stack.enter_context(self._connected(address))
            self._open = stack.pop_all()

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the host's turn ends."""
        self._open.close()

    def _connected(self, address: Address) -> socket.socket:
        """A socket to the first address of the host that takes the connection."""
        host, port = address
        failed: OSError | None = None
        for number in [host] if is_number(host) else [found for _, found in addresses(host, self._left())]:
            try:
                return socket.create_connection((number, port), timeout=self._left())
            except OSError as error:
                failed = error
        raise failed or OSError("the name has no address")

    def _left(self) -> float:
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def ready(self) -> socket.socket:
        """The socket, with the time that is left as its timeout."""
        self.socket.settimeout(self._left())
        return self.socket

    def hung_up(self, within: float) -> bool:
        """Whether the other side closes within so many seconds, having said nothing."""
        self.socket.settimeout(min(within, self._left()))
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        except OSError:
            return True

    def send(self, body: bytes) -> None:
        """Send all of it."""
        self.ready().sendall(body)

    def some(self, most: int = _MOST) -> bytes:
        """What comes next; nothing when the other side has closed."""
        return self.ready().recv(most)

    def exactly(self, size: int) -> bytes:
        """So many bytes; raises `ConnectionResetError` when the other side closes before."""
        body = b""
        while len(body) < size:
            part = self.some(size - len(body))
            if not part:
                raise ConnectionResetError("the server closed the connection")
            body += part
        return body

    def line(self) -> str:
        """The next line without its end, read byte by byte, since what follows may be TLS."""
        body = b""
        while not body.endswith(b"\n"):
            body += self.exactly(1)
            if len(body) > _MOST:
                raise ConnectionResetError("a line without an end")
        return body.decode(errors="replace").rstrip("\r\n")

    def shake(self, context: SSLContext, host: str) -> SSLObject:
        """Shake hands for TLS; `wrap_socket` would lose the socket, still open, where a reset has come before it."""
        incoming, outgoing = MemoryBIO(), MemoryBIO()
        secure = context.wrap_bio(incoming, outgoing, server_hostname=host)
        while True:
            try:
                secure.do_handshake()
            except SSLWantReadError:
                self.send(outgoing.read())
                part = self.some()
                incoming.write(part) if part else incoming.write_eof()
            else:
                self.send(outgoing.read())
                return secure
