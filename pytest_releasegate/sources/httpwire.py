"""Connections for `requests` whose every read counts against one deadline and one number of bytes."""

from __future__ import annotations

import io
import socket
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from ssl import SSLContext, SSLError
from typing import TYPE_CHECKING, Any

from requests import Session
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.sources.httpfaults import TooMuch, require_elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import Response
    from urllib3 import PoolManager

__all__ = ["Wire", "session"]

_SWITCHING = 101
_LONGEST_LINE = 64 * 1024
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class Wire:
    """What the connections of one exchange obey, and whom they reached last."""

    def __init__(self, left: Callable[[], float], most: int, version: int = 0) -> None:
        self.left = left
        """Seconds that are left; raises when there are none."""
        self.most = most
        self.version = version
        self.peer = ""
        self.led_away = False
        """Whether a redirect has led to another server than the one that was named."""


class _Metered(io.RawIOBase):
    """A socket's stream that gives up at the deadline and at too many bytes, however it drips or pours."""

    def __init__(self, inner: io.RawIOBase, sock: socket.socket, wire: Wire) -> None:
        super().__init__()
        self._inner, self._sock, self._wire, self._read = inner, sock, wire, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._wire.left())
        count = self._inner.readinto(buffer)
        self._read += count or 0
        if self._read > self._wire.most:
            raise TooMuch(f"more than {self._wire.most} bytes came, and the answer had no end")
        return count

    def close(self) -> None:
        self._inner.close()
        super().close()


def _response_class(wire: Wire) -> type[HTTPResponse]:
    class Response(HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
            super().__init__(sock, *args, **more)
            inner: Any = self.fp.detach()
            self.fp = io.BufferedReader(_Metered(inner, sock, wire))

        def _read_status(self) -> tuple[str, int, int | str]:
            """The status line of the answer, past what is told before it, such as 103 (Early Hints)."""
            above: Any = super()
            while True:
                version, status, reason = above._read_status()  # noqa: SLF001  it knows of 100 alone
                if not 100 < status < 200 or status == _SWITCHING:
                    return version, status, reason
                while self.fp.readline(_LONGEST_LINE).strip():
                    pass

    return Response


def _connected(connection: Any, connect: Callable[[], socket.socket], wire: Wire) -> socket.socket:
    """The connection's socket, to an address of the version that is asked for."""
    name, failure = connection._dns_host, None  # noqa: SLF001  the name stays what TLS and the Host header know
    try:
        for address in _addresses(name, connection.port, wire.version):
            connection._dns_host = address  # noqa: SLF001
            try:
                sock = connect()
            except Exception as error:
                failure = error
            else:
                wire.peer = str(sock.getpeername()[0])
                if wire.led_away:
                    _leave(sock, wire.peer)
                return sock
    finally:
        connection._dns_host = name  # noqa: SLF001
    assert failure is not None  # noqa: S101  there is an address, or `_addresses` has raised
    raise failure


def _leave(sock: socket.socket, peer: str) -> None:
    """Hang up where no redirect may lead, whatever name it went by."""
    try:
        require_elsewhere(peer)
    except CannotLook:
        sock.close()
        raise


def _addresses(name: str, port: int, version: int) -> list[str]:
    if not version:
        return [name]
    try:
        found = socket.getaddrinfo(name.strip("[]"), port, _FAMILIES[version], socket.SOCK_STREAM)
    except OSError as error:
        raise CannotLook(
            f"{name}: no IPv{version} address: {error.strerror}", f"leave out `ip`, or publish one for IPv{version}"
        ) from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))


_Bundle = tuple[str, int, int]
_FREE: dict[_Bundle, list[SSLContext]] = {}
"""Contexts that trust a bundle of authorities and that nobody uses now: reading one takes longer than an answer."""


class _Adapter(HTTPAdapter):
    def __init__(self, pools: dict[str, type[HTTPConnectionPool]]) -> None:
        self._pools = pools
        self._taken: list[tuple[_Bundle, SSLContext]] = []
        super().__init__()

    def cert_verify(self, conn: Any, *args: Any, **more: Any) -> None:
        untyped: Any = super()
        untyped.cert_verify(conn, *args, **more)
        if conn.ca_certs and conn.proxy is None:
            with suppress(SSLError):  # a file that is no bundle: urllib3 says so
                conn.conn_kw["ssl_context"] = self._trusting(conn.ca_certs)
                conn.ca_certs = None

    def _trusting(self, bundle: str) -> SSLContext:
        stat = Path(bundle).stat()
        key = bundle, stat.st_mtime_ns, stat.st_size
        try:
            made = _FREE.setdefault(key, []).pop()
        except IndexError:
            made = create_urllib3_context()
            made.load_verify_locations(bundle)
        self._taken.append((key, made))
        return made

    def close(self) -> None:
        super().close()
        while self._taken:
            key, made = self._taken.pop()
            _FREE[key].append(made)  # never two exchanges at a time: urllib3 sets one up for each connection

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def build_response(self, req: Any, resp: Any) -> Response:
        """The answer, without a jar of its own."""
        original, resp._original_response = resp._original_response, None  # noqa: SLF001
        response = super().build_response(req, resp)
        resp._original_response = original  # noqa: SLF001
        return response

    def proxy_manager_for(self, *args: Any, **more: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(*args, **more)
        manager.pool_classes_by_scheme = self._pools
        return manager


class _NoJar(RequestsCookieJar):
    def extract_cookies(self, *_: Any, **__: Any) -> None:
        """Nothing: the standard library's jar warns, with a traceback, of what servers write."""


class _Session(Session):
    def resolve_redirects(self, *_: Any, **__: Any) -> Any:
        """Nothing: it would read bodies in full, and break at what is no URL."""
        return iter(())


def session(wire: Wire) -> Session:
    """A session whose connections are metered, and that adds nothing of its own."""

    class Plain(HTTPConnection):
        response_class = _response_class(wire)

        def _new_conn(self) -> socket.socket:
            return _connected(self, super()._new_conn, wire)

    class Secure(HTTPSConnection):
        response_class = _response_class(wire)

        def _new_conn(self) -> socket.socket:
            return _connected(self, super()._new_conn, wire)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    made = _Session()
    made.cookies = _NoJar()
    made.trust_env = False  # else ~/.netrc would add credentials that no plan names
    metered = _Adapter({"http": PlainPool, "https": SecurePool})
    made.mount("http://", metered)
    made.mount("https://", metered)
    return made
