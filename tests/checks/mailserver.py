"""A mail server on loopback that only lets people sign in: RFC 5321, 3207 and 4954 as far as that needs."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme

WORD = base64.b64encode(b"\0mailer\0correct-horse-battery").decode()


@dataclass
class Mail:
    """A running server: how it answers, and what it was told."""

    port: int = 0
    starttls: bool = True
    implicit: bool = False
    drip: bool = False
    endless: bool = False
    auth: str = "AUTH PLAIN LOGIN"
    greeting: str = "220 mail.example ESMTP"
    reply: str = ""
    told: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, mail: Mail, tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mail = mail
        self.tls = tls


class _Handler(socketserver.StreamRequestHandler):
    server: _Server
    secure = False

    def handle(self) -> None:
        with suppress(OSError):
            self.talk()
        with suppress(OSError):
            self.wfile.close()
        self.rfile.close()
        self.request.close()

    def talk(self) -> None:
        mail = self.server.mail
        if mail.implicit:
            self.wrap()
        while mail.drip and not mail.over.wait(0.02):
            self.wfile.write(b"2")
        while mail.endless and not mail.over.is_set():
            self.say(*["220-mail.example has much to say"] * 100)
        self.say(mail.greeting)
        while line := self.rfile.readline().decode().strip():
            mail.told.append(line)
            self.say(*self.replies(line))
            if line.upper() == "STARTTLS":
                self.wrap()

    def replies(self, line: str) -> list[str]:
        word = line.split()[0].upper()
        if word == "EHLO":
            offers = [self.server.mail.auth] if self.secure or not self.server.mail.starttls else ["STARTTLS"]
            return [f"250-{offer}" for offer in ["mail.example", *offers] if offer] + ["250 SIZE 1000"]
        if word == "AUTH" and self.secure:
            right = line.split()[-1] == WORD
            return [self.server.mail.reply or ("235 2.7.0 accepted" if right else "535 5.7.8 not accepted")]
        return [{"QUIT": "221 bye", "STARTTLS": "220 go ahead"}.get(word, "502 5.5.1 no")]

    def wrap(self) -> None:
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb")
        self.secure = True

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())
        self.wfile.flush()


@contextmanager
def mail_server(authority: trustme.CA) -> Iterator[Mail]:
    """Run one until the block ends."""
    mail = Mail()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    server = _Server(mail, tls)
    mail.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield mail
    finally:
        mail.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
