"""Gate files become a checklist, or every mistake is told at once with its place and what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pytest_releasegate.checklist.loader import gate_files, load
from pytest_releasegate.checklist.plan import freeze
from pytest_releasegate.checklist.python_gates import PythonGates
from pytest_releasegate.checks import kinds
from pytest_releasegate.errors import BrokenPlan
from pytest_releasegate.model import Item, Phase, Place, Severity

HEAD = 'phase: predeploy\nitems:\n  - item: "1"\n    title: T\n    gates:\n'
GATE_KEYS = (
    "known: alternatives, due, id, needs, observe, owner, severity, step, timeout, title, together, topics, trigger, "
    "valid_for, when, writes"
)
FILE_KEYS = "known: items, owner, phase, severity, step, title, topics"
PHASES = "predeploy, deploy, postdeploy, day1, review, rollback, backfill or compliance"
DURATION = "expected a duration such as 500ms, 30s, 15m, 24h or 90d"
ID_PATTERN = "pattern: ^[A-Za-z0-9][A-Za-z0-9._-]*$"
FACTS = "facts joined by and, or, not"
GOOD = "{id: a, title: t, http: /x}"


def with_gate(*gates: str) -> str:
    return HEAD + "".join(f"      - {gate}\n" for gate in gates)


def with_item(item: str) -> str:
    return f"phase: predeploy\nitems:\n  - {item}\n"


def known_kinds() -> str:
    return ", ".join(kinds())


WRONG_FILES: list[tuple[str, list[str]]] = [
    ("\n", ["1:1: expected a mapping of keys to values, got nothing"]),
    ("- a\n", ["1:1: expected a mapping of keys to values, got a list"]),
    ("5\n", ["1:1: expected a mapping of keys to values, got the number 5"]),
    ("phase: predeploy\n", ["1:1: missing key 'items'", "    The checkboxes, each with its gates."]),
    ("phase: predeploy\nitems: []\n", ["2:8: expected at least 1, got 0"]),
    ("phase: predeploy\nitems: {a: 1}\n", ["2:8: expected a list, got a mapping"]),
    ("phase: predeploy\nitems: x\n", ["2:8: expected a list, got the text 'x'"]),
    (
        with_gate(GOOD).replace("predeploy", "predeployy"),
        [f"1:8: expected {PHASES}, got the text 'predeployy'", "    did you mean 'predeploy'?"],
    ),
    (with_gate(GOOD).replace("predeploy", "no"), [f"1:8: expected {PHASES}, got the text 'no'"]),
    (
        with_gate(GOOD).replace("phase", "phases"),
        [
            "1:1: missing key 'phase'",
            "    Phase of the release the gates belong to.",
            "1:1: unknown key 'phases'",
            f"    did you mean 'phase'? {FILE_KEYS}",
        ],
    ),
    (with_gate(GOOD) + "colour: red\n", ["7:1: unknown key 'colour'", f"    {FILE_KEYS}"]),
    (
        with_gate(GOOD).replace("predeploy", "deploy"),
        ["6:9: missing key 'step' of phase deploy", "    known: before, migrate, after"],
    ),
    (
        with_gate(GOOD).replace("predeploy", "deploy\nstep: befor"),
        ["2:7: unknown step 'befor' of phase deploy", "    known: before, migrate, after"],
    ),
    (with_gate(GOOD) + "topics: [Smoke]\n", ["7:10: 'Smoke' cannot be in 'topics'", "    pattern: ^[a-z][a-z0-9_]*$"]),
]

WRONG_ITEMS: list[tuple[str, list[str]]] = [
    ("5", ["3:5: expected a mapping of keys to values, got the number 5"]),
    (f"{{item: 1.1, title: T, gates: [{GOOD}]}}", ["3:12: expected text, got the number 1.1", '    quote it: "1.1"']),
    (f"{{item: a b, title: T, gates: [{GOOD}]}}", ["3:12: 'a b' cannot be the item", f"    {ID_PATTERN}"]),
    (f"{{item: a, gates: [{GOOD}]}}", ["3:5: missing key 'title'", "    The item's text."]),
    ("{item: a, title: T}", ["3:5: missing key 'gates'", "    The verifiable lines of the item."]),
    ("{item: a, title: T, gates: []}", ["3:32: expected at least 1, got 0"]),
    ("{item: a, title: T, gates: {id: 1}}", ["3:32: expected a list, got a mapping"]),
    ("{item: a, title: T, gates: abc}", ["3:32: expected a list, got the text 'abc'"]),
    ("{item: a, title: T, gates: 5}", ["3:32: expected a list, got the number 5"]),
    ("{item: a, title: T, gates: [5]}", ["3:33: expected a gate: a mapping with id, title and a check"]),
    (
        f"{{item: a, title: T, step: after, gates: [{GOOD}]}}",
        ["3:31: phase predeploy has no steps, got step 'after'", "    remove it"],
    ),
    (
        f"{{item: a, title: T, when: 'b) or (c', gates: [{GOOD.replace('t,', 't, when: d,')}]}}",
        ["3:31: `when`: expected 'and', 'or' or the end, got ')' in 'b) or (c'", f"    {FACTS}"],
    ),
]

WRONG_GATES: list[tuple[str, list[str]]] = [
    ("{id: 1.1, title: t, http: /x}", ["6:14: expected text, got the number 1.1", '    quote it: "1.1"']),
    ("{id: 010, title: t, http: /x}", ["6:14: expected text, got the number 010", '    quote it: "010"']),
    ("{id: 'a::b', title: t, http: /x}", ["6:14: 'a::b' cannot be the id", f"    {ID_PATTERN}"]),
    ("{id: 'a[b]', title: t, http: /x}", ["6:14: 'a[b]' cannot be the id", f"    {ID_PATTERN}"]),
    ("{id: a, title: 5, http: /x}", ["6:24: expected text, got the number 5", '    quote it: "5"']),
    ("{title: t, http: /x}", ["6:9: missing key 'id'", "    The gate's id, unique over all files, such as 10.1.1."]),
    ("{id: a, title: t}", ["6:9: a gate without a check", "    name one: KINDS"]),
    ("{id: a, title: t, htpp: /x}", ["6:27: unknown check 'htpp'", "    did you mean 'http'? known: KINDS"]),
    (
        "{id: a, title: t, http: /x, sverity: high}",
        ["6:37: unknown key 'sverity'", f"    did you mean 'severity'? {GATE_KEYS}"],
    ),
    (
        "{id: a, title: t, sverity: high}",
        ["6:27: unknown key 'sverity'", f"    did you mean 'severity'? {GATE_KEYS}"],
    ),
    (
        "{id: a, title: t, http: /x, attest: lead}",
        ["6:37: a second check 'attest'", "    a gate has one check: make 'attest' a gate of its own"],
    ),
    (
        "{id: a, title: t, attest: {role: lead, evidense: required}}",
        ["6:48: unknown key 'evidense'", "    did you mean 'evidence'? known: evidence, instead_of, role, valid_for"],
    ),
    ("{id: a, title: t, attest: }", ["6:35: missing key 'role'", "    Who must answer, such as `security_lead`."]),
    ("{id: a, title: t, attest: [x]}", ["6:35: expected a mapping of keys to values, got a list"]),
    ("{id: a, title: t, attest: 5}", ["6:35: expected text, got the number 5", '    quote it: "5"']),
    (
        "{id: a, title: t, attest: {role: x, evidence: maybe}}",
        ["6:55: expected required or optional, got the text 'maybe'"],
    ),
    (
        "{id: a, title: t, http: {url: /x, status: yes}}",
        ["6:51: expected a whole number, got the text 'yes'"],
    ),
    (
        "{id: a, title: t, http: {url: /x, redirects: yes}}",
        ["6:54: expected true or false, got the text 'yes'"],
    ),
    (
        "{id: a, title: t, http: {url: /x, max_size: 99999999999999999999}}",
        [
            "6:33: a parameter cannot be kept: 99999999999999999999 exceeds safe integer domain for JSON floats",
            "    quote large numbers",
        ],
    ),
    (
        "{id: a, title: t, http: /x, severity: hgih}",
        ["6:47: expected critical, high, medium or low, got the text 'hgih'", "    did you mean 'high'?"],
    ),
    ("{id: a, title: t, http: /x, topics: smoke}", ["6:45: expected a list, got the text 'smoke'"]),
    (
        "{id: a, title: t, http: /x, topics: [ok, no-good]}",
        ["6:50: 'no-good' cannot be in 'topics'", "    pattern: ^[a-z][a-z0-9_]*$"],
    ),
    *(
        (
            f"{{id: a, title: t, http: /x, topics: [{word}]}}",
            [f"6:46: expected a marker of your own, got '{word}', which means something else"],
        )
        for word in ("deploy", "critical", "after", "skip", "gate")
    ),
    ("{id: a, title: t, http: /x, needs: [b]}", ["6:9: gate a needs 'b', which is no gate", "    known: a"]),
    ("{id: a, title: t, http: /x, needs: [b, b]}", ["6:9: gate a needs 'b', which is no gate", "    known: a"]),
    ("{id: a, title: t, http: /x, needs: [a]}", ["6:9: gates need each other in a circle: a -> a"]),
    (
        "{id: a, title: t, http: /x, when: b and}",
        ["6:43: `when`: expected a name, got 'the end' in 'b and'", f"    {FACTS}"],
    ),
    (
        "{id: a, title: t, http: /x, when: '!b'}",
        ["6:43: `when`: '!b' cannot be a fact's name in '!b'", f"    {FACTS}"],
    ),
    (
        "{id: a, title: t, http: /x, when: 'b(c=1)'}",
        ["6:43: `when`: a fact has no arguments, got '=' in 'b(c=1)'", f"    {FACTS}"],
    ),
    (
        "{id: a, title: t, http: /x, when: true}",
        ["6:43: expected text, got the YAML bool 'true'", '    quote it: "true"'],
    ),
    ("{id: a, title: t, http: /x, valid_for: 24}", [f"6:48: {DURATION}, got '24'"]),
    (
        "{id: a, title: t, http: /x, due: 1h}",
        [
            "6:42: `due` counts from the deployment, and predeploy is not after it",
            "    only deploy after, postdeploy, day1 and review are",
        ],
    ),
    ("{id: a, title: t, http: /x, due: 99999999999d}", ["6:42: expected at most 36525d, got '99999999999d'"]),
    ("{id: a, title: t, http: /x, timeout: -1s}", [f"6:46: {DURATION}, got '-1s'"]),
    (
        "{id: a, title: t, http: /x, step: before}",
        ["6:43: phase predeploy has no steps, got step 'before'", "    remove it"],
    ),
    ("{id: a, title: t, http: /x, trigger: yes}", ["6:46: expected true or false, got the text 'yes'"]),
    ("{id: a, title: t, http: /x, observe: 1}", ["6:46: expected true or false, got the number 1"]),
    (
        "{id: a, title: t, test: tests/no.py}",
        ["6:9: gate a: no file 'tests/no.py'", "    paths are relative to the root"],
    ),
    (
        f"{{id: a, title: t, test: {'x' * 300}}}",
        [f"6:9: gate a: no file '{'x' * 300}'", "    paths are relative to the root"],
    ),
    ("text", ["6:9: expected a gate: a mapping with id, title and a check"]),
]


def told_as(lines: list[str]) -> list[str]:
    with_kinds = [line.replace("KINDS", known_kinds()) for line in lines]
    return [line if line.startswith(" ") else f"gates/a.yaml:{line}" for line in with_kinds]


@pytest.mark.parametrize(("text", "lines"), WRONG_FILES)
def test_mistakes_of_a_file(product: Any, text: str, lines: list[str]) -> None:
    assert product.told(text) == told_as(lines)


@pytest.mark.parametrize(("item", "lines"), WRONG_ITEMS)
def test_mistakes_of_an_item(product: Any, item: str, lines: list[str]) -> None:
    assert product.told(with_item(item)) == told_as(lines)


@pytest.mark.parametrize(("gate", "lines"), WRONG_GATES)
def test_mistakes_of_a_gate(product: Any, gate: str, lines: list[str]) -> None:
    assert product.told(with_gate(gate)) == told_as(lines)


def test_all_mistakes_of_all_files_are_told_in_the_order_of_their_places(product: Any) -> None:
    product.write("gates/b.yaml", with_gate("{id: a, title: t, http: /}", "{id: b, title: t, http: /, needs: [c]}"))
    product.write("gates/environments.yaml", "environments: {prod: {base: x}}\n")
    first = with_gate(GOOD, "{id: 7, title: t, http: /, when: 'not'}", "{id: a, title: 8, http: {}, x: 1}")
    heads = [line.partition(" ")[0] for line in product.told(first) if not line.startswith(" ")]
    assert heads == [
        "gates/a.yaml:7:14:",
        "gates/a.yaml:7:42:",
        "gates/a.yaml:8:14:",
        "gates/a.yaml:8:24:",
        "gates/a.yaml:8:33:",
        "gates/a.yaml:8:37:",
        "gates/b.yaml:6:14:",
        "gates/b.yaml:7:9:",
        "gates/environments.yaml:1:23:",
    ]


def test_same_id_in_two_files(product: Any) -> None:
    product.write("gates/b.yaml", with_gate(GOOD))
    assert product.told(with_gate(GOOD)) == [
        "gates/b.yaml:6:14: gate id 'a' is given twice",
        "    first at gates/a.yaml:6:14",
    ]


def test_circle_of_needs(product: Any) -> None:
    gates = [f"{{id: {name}, title: t, http: /x, needs: [{need}]}}" for name, need in ("ab", "bc", "ca")]
    assert product.told(with_gate(*gates)) == ["gates/a.yaml:6:9: gates need each other in a circle: a -> b -> c -> a"]


def test_syntax_error_keeps_the_other_files_problems(product: Any) -> None:
    product.write("gates/b.yaml", with_gate("{id: b, title: t}"))
    assert [line.partition(" ")[0] for line in product.told("a: [\n") if line[0] != " "] == [
        "gates/a.yaml:2:1:",
        "gates/b.yaml:6:9:",
    ]


@pytest.mark.parametrize("names", [(), ("environments.yaml",), ("policy.yaml", "stakeholders.yaml", "notes.md")])
def test_no_gates_is_a_broken_plan(product: Any, names: tuple[str, ...]) -> None:
    for name in names:
        text = {"policy.yaml": "waive: []\n", "stakeholders.yaml": "roles: {}\n"}.get(name, "environments: {}\n")
        product.write(f"gates/{name}", text)
    with pytest.raises(BrokenPlan) as broken:
        freeze(load(product.root / "gates", product.root), PythonGates())
    assert str(broken.value).splitlines() == [
        "no gates in gates/",
        "    add a file such as gates/10-verification.yaml, with a phase and its items",
    ]


def test_deleted_folder_is_a_broken_plan(tmp_path: Any) -> None:
    with pytest.raises(BrokenPlan, match="no gates in gates/"):
        freeze(load(tmp_path / "gates", tmp_path), PythonGates())


def test_files_come_in_the_order_of_their_names(product: Any) -> None:
    for name in ("20.yml", "10.yaml", "policy.yaml", "a.txt", "environments.yaml"):
        product.write(f"gates/{name}", "")
    assert [path.name for path in gate_files(product.root / "gates")] == ["10.yaml", "20.yml"]


FULL = """
# a comment
phase: deploy
step: before
title: Verification
severity: low
topics: [slow, smoke]
owner: ops
items:
  - item: "10.1"
    title: Healthy
    severity: medium
    step: after
    topics: [smoke, api]
    when: maintenance
    owner: web
    gates:
      - id: 10.1.1
        title: Endpoint
        severity: critical
        topics: [api, fast]
        needs: [10.1.2]
        when: not hotfix or billing
        valid_for: 24h
        due: 1h30m
        timeout: 5s
        trigger: true
        observe: true
        owner: alice
        http: {url: /healthz, within: 2s}
      - {id: 10.1.2, title: Plain, http: /x}
  - {item: "10.2", title: Bare, gates: [{id: 10.2.1, title: Barest, step: migrate, http: /y}]}
"""


def test_everything_that_a_gate_may_declare(product: Any) -> None:
    full, plain, barest = product.load(FULL).declarations
    gate = full.gate
    assert (gate.id, gate.title, gate.item) == ("10.1.1", "Endpoint", Item("10.1", "Healthy"))
    assert (gate.phase, gate.step, gate.severity, gate.owner) == (Phase.DEPLOY, "after", Severity.CRITICAL, "alice")
    assert gate.topics == ("slow", "smoke", "api", "fast")
    assert (gate.needs, gate.when) == (("10.1.2",), "(maintenance) and (not hotfix or billing)")
    assert (gate.valid_for, gate.due) == (timedelta(hours=24), timedelta(minutes=90))
    assert (gate.trigger, gate.observe, full.timeout) == (True, True, timedelta(seconds=5))
    assert (gate.kind, gate.parameters) == ("http", {"url": "/healthz", "within": "2s"})
    assert gate.markers == {
        *("gate", "deploy", "after", "critical", "http"),
        *("slow", "smoke", "api", "fast"),
    }
    assert (plain.gate.severity, plain.gate.step, plain.gate.owner) == (Severity.MEDIUM, "after", "web")
    assert (plain.gate.when, plain.gate.topics) == ("maintenance", ("slow", "smoke", "api"))
    assert (barest.gate.severity, barest.gate.step, barest.gate.owner) == (Severity.LOW, "migrate", "ops")
    assert (barest.gate.when, barest.gate.topics, barest.timeout) == ("", ("slow", "smoke"), None)


def test_gates_have_places(product: Any) -> None:
    places = [declaration.gate.place for declaration in product.load(FULL).declarations]
    assert places == [Place("gates/a.yaml", line, column) for line, column in ((17, 9), (30, 9), (31, 41))]


def test_severity_is_high_where_nothing_says_otherwise(product: Any) -> None:
    assert product.gate(with_gate(GOOD)).gate.severity is Severity.HIGH


def test_shorthand_is_the_same_gate_as_the_key(product: Any) -> None:
    short = product.gate(with_gate("{id: a, title: t, http: /x}"))
    long = product.gate(with_gate("{id: a, title: t, http: {url: /x}}"))
    assert short.gate.parameters == {"url": "/x"}
    assert (short.digest, short.check) == (long.digest, long.check)


def test_checklist_knows_its_gates_and_markers(product: Any) -> None:
    checklist = product.load(FULL)
    assert sorted(checklist.by_id) == ["10.1.1", "10.1.2", "10.2.1"]
    assert {"gate", "deploy", "after", "migrate", "smoke", "low"} <= checklist.markers
    assert "predeploy" not in checklist.markers


def test_product_outside_the_root(product: Any, tmp_path: Any) -> None:
    product.write("gates/a.yaml", with_gate(GOOD))
    checklist = load(product.root / "gates", tmp_path / "elsewhere")
    assert checklist.declarations[0].gate.place.file == str(product.root / "gates" / "a.yaml")
