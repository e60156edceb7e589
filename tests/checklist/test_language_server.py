"""What an editor shows in a gate file, by a real YAML language server: completion, and mistakes at their lines."""

from __future__ import annotations

import json
import os
import subprocess
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checklist.editors import gates_schema, with_modeline
from pytest_releasegate.checks import kinds, load_kind
from tests.npm import installed

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "1.25.0"
PATIENCE = 60
SETTINGS = {"yaml": {"validate": True, "completion": True, "hover": True, "schemaStore": {"enable": False}}}
FILE = """\
phase: deploy
step: after
items:
  - item: "10.1"
    title: Health
    gates:
      - id: 10.1.1
        title: It answers
        {}
"""
GATE = FILE.count("\n", 0, FILE.index("{}")) + 1
"""The line of the gate's check, counted from 0 and below the line that names the schema."""


class Server:
    """A language server over its standard input and output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = installed("yaml-language-server", VERSION)
        self.process = subprocess.Popen(
            [str(program), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.answers: Queue[dict[str, Any]] = Queue()
        Thread(target=self._read, daemon=True).start()
        self.count = 0
        self.ask("initialize", processId=os.getpid(), rootUri=folder.as_uri(), capabilities={})
        self.send("initialized", {})
        self.send("workspace/didChangeConfiguration", {"settings": SETTINGS})

    def open(self, name: str, text: str) -> str:
        """Open a document of the folder; its URI."""
        uri = (self.folder / name).as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.send("textDocument/didOpen", {"textDocument": document})
        return uri

    def problems(self, name: str, text: str) -> list[tuple[int, str]]:
        """What is wrong with a document: lines, counted from 0, and messages."""
        uri = self.open(name, text)
        while True:
            told = self._next()
            if told.get("method") == "textDocument/publishDiagnostics" and told["params"]["uri"] == uri:
                return [(one["range"]["start"]["line"], one["message"]) for one in told["params"]["diagnostics"]]

    def offers(self, name: str, text: str, line: int, character: int) -> set[str]:
        """What may stand there."""
        where = {"textDocument": {"uri": self.open(name, text)}, "position": {"line": line, "character": character}}
        found = self.ask("textDocument/completion", **where)
        return {item["label"] for item in (found["items"] if isinstance(found, dict) else found)}

    def ask(self, method: str, **params: Any) -> Any:
        self.count += 1
        self.send(method, params, id=self.count)
        while True:
            told = self._next()
            if told.get("id") == self.count and "method" not in told:
                assert "error" not in told, told
                return told["result"]

    def send(self, method: str, params: Any, **more: Any) -> None:
        self._write({"method": method, "params": params, **more})

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    def _next(self) -> dict[str, Any]:
        """The next message; questions of the server are answered on the way."""
        told = self.answers.get(timeout=PATIENCE)
        if "id" in told and "method" in told:
            items = told["params"].get("items", []) if isinstance(told.get("params"), dict) else []
            self._write({"id": told["id"], "result": [SETTINGS.get(item.get("section", "")) for item in items]})
        return told

    def _write(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while line := stream.readline():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                while stream.readline().strip():
                    pass
                self.answers.put(json.loads(stream.read(int(value))))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gates")
    (folder / ".schema.json").write_text(json.dumps(gates_schema()), "utf-8")
    made = Server(folder)
    yield made
    made.close()


def file(check: str) -> str:
    return with_modeline(FILE.replace("{}", check))


def test_a_gate_file_as_it_should_be_has_no_problems(server):
    assert server.problems("good.yaml", file("http: {url: /healthz, status: 200, within: 2s}")) == []


@pytest.mark.parametrize(
    ("name", "check", "line", "told"),
    [
        ("unknown-key-of-a-kind", "http: {url: /healthz, stauts: 200}", GATE, "stauts"),
        ("unknown-key-of-a-gate", "severty: high\n        http: /healthz", GATE, "severty"),
        ("number-for-a-severity", "http: /healthz\n        severity: 7", GATE + 1, "low"),
        ("text-for-a-number", "http:\n          url: /healthz\n          status: fine", GATE + 2, "integer"),
        ("number-for-a-text", "http: {url: 7}", GATE, "string"),
    ],
)
def test_a_mistake_is_shown_at_its_line(server, name, check, line, told):
    found = server.problems(f"{name}.yaml", file(check))
    assert line in {where for where, _ in found}, found
    assert told in " ".join(what for where, what in found if where == line)


def test_the_kinds_of_checks_are_offered_with_the_keys_of_a_gate(server):
    offered = server.offers("kinds.yaml", file(""), GATE, 8)
    assert {*kinds(), "severity", "needs", "valid_for"} <= offered


@pytest.mark.parametrize("kind", ["http", "attest", "row_counts"])
def test_the_keys_of_a_kind_are_offered_inside_of_it(server, kind):
    text = file(f"{kind}:\n          ")
    offered = server.offers(f"keys-{kind}.yaml", text, GATE + 1, 10)
    names = {field.alias or name for name, field in load_kind(kind).model_fields.items()}
    assert names <= offered
