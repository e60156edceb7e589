"""A web server of one test module: what it answers is set by each test, over HTTP and over HTTPS."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import trustme

from pytest_releasegate.model import Environment, Ok

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pytest_releasegate.execution import Look

Headers = list[tuple[str, str]]


@dataclass
class Answer:
    """A status, headers and a body."""

    headers: Headers = field(default_factory=list)
    status: int = 200
    body: bytes = b"hello"


@dataclass
class Website:
    """A running server, its certificate authority's file, and how it answers a method, path and headers."""

    url: str
    ca: str = ""
    answer: Callable[[str, str, Mapping[str, str]], Answer] = lambda method, path, headers: Answer()
    asked: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)

    @property
    def environment(self) -> Environment:
        return Environment(name="staging", base_url=self.url)

    def says(self, *headers: tuple[str, str], status: int = 200) -> None:
        """Answer everything so."""
        self.answer = lambda method, path, asked: Answer(list(headers), status)


def handler(site: Website) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            site.asked.append((self.command, self.path, dict(self.headers)))
            answer = site.answer(self.command, self.path, dict(self.headers))
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    for method in ("GET", "OPTIONS", "POST"):
        setattr(Handler, f"do_{method}", Handler.reply)
    return Handler


@contextmanager
def website(folder: Path | None = None) -> Iterator[Website]:
    """Serve over HTTP, or over HTTPS with an authority's file in the folder."""
    site = Website("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(site))
    if folder is not None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        site.ca = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(site.ca)
    site.url = f"{'https' if folder else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def said(result: Look, site: Website) -> list[str]:
    """What was found that is not as expected, without the site's address."""
    return [str(one).replace(site.url, "") for one in result.findings if one.ok is not Ok.YES]
