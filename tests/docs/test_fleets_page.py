"""The page about several targets: its example, with two targets that are there."""

from __future__ import annotations

import re
import shlex
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.docs.test_first_gate import Healthy

PAGE = (Path(__file__).parents[2] / "docs" / "fleets.md").read_text("utf-8")


def test_the_example_does_what_it_says(product):
    (declared,), (commands,) = (
        re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for kind in ("yaml", "sh")
    )
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Healthy) for _ in range(2)]
    for name, server in zip(("eu", "us"), servers, strict=True):
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        declared = declared.replace(f"https://{name}.ehr.example", f"http://127.0.0.1:{server.server_port}")
    product.write("gates/environments.yaml", declared)
    gates = ["id: 10.1.1, title: Healthy, http: /healthz, topics: [smoke]", "id: 10.1.2, title: P, attest: {role: a}"]
    product.gates("compliance", *gates)
    done = []
    for program, *words in (shlex.split(line, comments=True) for line in commands.splitlines()):
        ran = getattr(product, program)(*(word.replace("4", "2") if program == "pytest" else word for word in words))
        done.append((program, ran.code, ran.out))
    for server in servers:
        server.shutdown()
        server.server_close()
    assert [row[:2] for row in done] == [("pytest", 0), ("pytest", 0), ("releasegate", 10), ("releasegate", 0)]
    assert "in all ok: 2 of 2 targets ok" in done[0][2]
    assert "in all HOLD: 0 of 2 targets ok" in done[2][2], "in each of them a person has to speak"
    assert done[3][2].count("10.1.1 Healthy") == 2
