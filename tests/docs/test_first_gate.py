"""The README's first gate, done as a stranger does it: its files, its commands, a real target."""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import psycopg

from pytest_releasegate.sources.pgserver import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SECTION = README.partition("## Your first gate")[2].partition("\n## ")[0]
MIGRATED = "create table schema_migrations (version text); insert into schema_migrations values ('002'), ('003')"


class Healthy(BaseHTTPRequestHandler):
    """A target that says it is well."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Be quiet."""


@contextmanager
def staging() -> Iterator[tuple[str, str]]:
    """The URL and the DSN of a small staging environment."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as target, PostgresServer() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(MIGRATED)
        Thread(target=target.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{target.server_port}", server.dsn()
        target.shutdown()


def block(kind: str, number: int) -> str:
    """One block of the section."""
    return re.findall(rf"^```{kind}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)[number]


def test_a_stranger_adds_a_gate_by_following_the_readme(product):
    commands = [shlex.split(line, comments=True) for line in block("sh", 0).splitlines()]
    with staging() as (url, dsn):
        product.write("gates/environments.yaml", block("yaml", 0).replace("https://staging.ehr.example", url))
        product.write("gates/10-verification.yaml", block("yaml", 1))
        done = []
        for program, *words in commands:
            ran = getattr(product, program)(*words, STAGING_DSN=dsn)
            done.append((program, words[0], ran.code))
        again = product.releasegate("status", "--exit-code", "--phase", "deploy")
    assert done == [
        ("releasegate", "check", 0),
        ("releasegate", "open", 0),
        ("releasegate", "deployed", 0),
        ("pytest", "-m", 10),  # a person has to speak
        ("releasegate", "attest", 0),
        ("releasegate", "status", 0),
    ]
    assert again.has("phase deploy: GO", "1 attested, 2 passed"), again.out
    assert again.code == 0
    assert dsn not in (product.root / ".releasegate" / "record.db").read_bytes().decode("latin-1")
