"""The named targets: read whole, or told what is wrong with them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pytest_releasegate.checklist.environments import Environments, load
from pytest_releasegate.model import Environment

GATES = "phase: predeploy\nitems: [{item: a, title: T, gates: [{id: a, title: t, http: /x}]}]\n"
FULL = """
default: staging
product: clinic
environments:
  prod:
    base_url: https://ehr.example.com
    databases: {app: "${env:APP_DSN}"}
    metrics: /metrics/all
    values: {tenant: "7"}
    protected: true
    allow: [probes, writes_through_app]
    watch: 15m
  staging: {}
fleets: {all: [prod, staging]}
"""


def test_all_keys(product: Any) -> None:
    product.write("gates/environments.yaml", FULL)
    found = product.load(GATES).environments
    assert (found.default, found.product, list(found.by_name)) == ("staging", "clinic", ["prod", "staging"])
    assert found.fleets == {"all": ("prod", "staging")}
    assert found.by_name["prod"] == Environment(
        name="prod",
        base_url="https://ehr.example.com",
        databases={"app": "${env:APP_DSN}"},
        metrics="/metrics/all",
        values={"tenant": "7"},
        protected=True,
        allow=frozenset({"probes", "writes_through_app"}),
        watch=timedelta(minutes=15),
    )
    assert found.by_name["staging"] == Environment(name="staging", metrics="/metrics")


def test_no_file_means_no_environments(product: Any) -> None:
    problems: list[Any] = []
    assert load(product.root / "gates", product.root, problems) == Environments()
    assert problems == []


def test_reference_is_not_resolved_at_load(product: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_DSN", "postgresql://u:hunter22@h/d")
    product.write("gates/environments.yaml", FULL)
    assert "hunter22" not in repr(product.load(GATES))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("\n", ["1:1: expected a mapping of keys to values, got nothing"]),
        ("environments: {prod: }\n", ["1:22: expected a mapping of keys to values, got nothing"]),
        ("environments: [prod]\n", ["1:15: expected a mapping of keys to values, got a list"]),
        ("environments: {Prod: {}}\n", ["1:16: 'Prod' cannot be a key here", "    pattern: ^[a-z][a-z0-9_-]*$"]),
        (
            "environments: {prod: {base: x}}\n",
            [
                "1:23: unknown key 'base'",
                "    did you mean 'base_url'? "
                "known: allow, base_url, connections, databases, metrics, protected, values, watch",
            ],
        ),
        (
            "environments: {a: {}, b-c: {}}\nfleets: {a: [a, b-c], all: [a, b, a], one: [a]}\n",
            ["2:44: expected at least 2, got 1"],
        ),
        (
            "default: all\nenvironments: {a: {}, b-c: {}}\nfleets: {a: [a, b-c], all: [a, b, a]}\n",
            [
                "3:13: fleet 'a' has the name of an environment",
                "    give it another",
                "3:28: fleet all: 'a' is named 2 times",
                "    once is enough",
                "3:28: fleet all: unknown environment 'b'",
                "    known: a, b-c",
            ],
        ),
        (
            "default: prd\nenvironments: {prod: {}}\n",
            ["1:10: default: unknown environment 'prd'", "    did you mean 'prod'? known: prod"],
        ),
        (
            "environments: {prod: {databases: {app: 5}}}\n",
            ["1:40: expected text, got the number 5", '    quote it: "5"'],
        ),
        (
            "environments: {prod: {allow: [probs]}}\n",
            [
                "1:31: expected probes, writes_through_app, restores, superuser or owner, got the text 'probs'",
                "    did you mean 'probes'?",
            ],
        ),
        (
            "environments: {prod: {allow: probes, watch: 1x, protected: yes}}\n",
            [
                "1:30: expected a list, got the text 'probes'",
                "1:45: expected a duration such as 500ms, 30s, 15m, 24h or 90d, got '1x'",
                "1:60: expected true or false, got the text 'yes'",
            ],
        ),
        (
            "environments: {a: {}}\nenvironments: {b: {}}\n",
            ["2:1: key 'environments' is given twice", "    first at gates/environments.yaml:1:1"],
        ),
    ],
)
def test_mistakes(product: Any, text: str, lines: list[str]) -> None:
    product.write("gates/environments.yaml", text)
    expected = [line if line.startswith(" ") else f"gates/environments.yaml:{line}" for line in lines]
    assert product.told(GATES) == expected
