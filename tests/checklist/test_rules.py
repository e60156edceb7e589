"""`policy.yaml`, `stakeholders.yaml` and `allowed_signers`: read whole, or told what is wrong with them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pytest_releasegate.checklist.editors import policy_schema, stakeholders_schema
from pytest_releasegate.checklist.nodes import read
from pytest_releasegate.policy import (
    BusinessHours,
    DerivedFact,
    Freeze,
    Grant,
    Person,
    Profile,
    Role,
    Rules,
    Selector,
    rules_from_document,
    rules_to_document,
)

GATES = """
phase: predeploy
items:
  - item: "6.1"
    title: Reviews
    gates:
      - {id: 6.1.1, title: Notes, document: NOTES.md}
      - {id: 6.1.2, title: Access reviewed, attest: security_lead}
      - {id: 6.1.3, title: Manager, sign_off: release_manager}
      - {id: 6.1.4, title: Engineering, sign_off: engineering_lead}
"""
ENVIRONMENTS = "environments: {prod: {}, staging: {}}\n"
STAKEHOLDERS = """
roles:
  release_manager: {title: Release manager, people: [ann@x.example]}
  engineering_lead: {people: [bob@x.example, ann@x.example]}
  security_lead: {people: [cyd@x.example]}
people:
  ann@x.example: {name: Ann, phone: "+49 30 1"}
  bob@x.example: {name: Bob, email: robert@mail.example}
  cyd@x.example: {}
"""
POLICY = """
waive:
  - {roles: [release_manager], severity: [medium, low], for_at_most: 30d}
  - {roles: [security_lead], gates: ["6.*"], kinds: [document], phases: [predeploy], for_at_most: 14d}
attest: []
declare:
  - {roles: [release_manager], facts: [maintenance, backfill]}
signed: [waiver]
authors_may_sign: false
after: {prod: [staging]}
profiles:
  hotfix:
    must_hold: {severity: [critical], gates: ["6.1.1"]}
    deferred_until: 72h
    approved_by: [release_manager, engineering_lead]
freeze:
  - {from: 2026-12-20T00:00:00+01:00, until: "2027-01-04T06:00:00+01:00", reason: end of year, environments: [prod],
     except: [hotfix]}
business_hours:
  zone: Europe/Berlin
  days: [mon, tue, wed, thu]
  hours: "09:00-16:00"
  holidays: {country: DE, subdivision: BE, dates: [2026-12-31]}
  environments: [prod]
facts:
  billing_changes: {changed: ["billing/**", "migrations/*charge*"]}
"""


@pytest.fixture
def folder(product: Any) -> Any:
    """A product with gates, two environments and stakeholders, without a policy yet."""
    product.write("gates/a.yaml", GATES)
    product.write("gates/environments.yaml", ENVIRONMENTS)
    product.write("gates/stakeholders.yaml", STAKEHOLDERS)
    return product


def test_all_keys(folder: Any) -> None:
    folder.write("gates/policy.yaml", POLICY)
    assert folder.load().rules == Rules(
        waive=(
            Grant(roles=("release_manager",), severities=("medium", "low"), for_at_most=timedelta(days=30)),
            Grant(
                roles=("security_lead",),
                gates=("6.*",),
                kinds=("document",),
                phases=("predeploy",),
                for_at_most=timedelta(days=14),
            ),
        ),
        declare=(Grant(roles=("release_manager",), facts=("maintenance", "backfill")),),
        signed=frozenset({"waiver"}),
        authors_may_sign=False,
        after={"prod": ("staging",)},
        profiles={
            "hotfix": Profile(
                name="hotfix",
                must_hold=(Selector(gates=("6.1.1",)), Selector(severities=("critical",))),
                deferred_until=timedelta(hours=72),
                approved_by=("release_manager", "engineering_lead"),
            )
        },
        freezes=(
            Freeze(
                start=datetime(2026, 12, 19, 23, tzinfo=UTC),
                end=datetime(2027, 1, 4, 5, tzinfo=UTC),
                reason="end of year",
                environments=("prod",),
                except_profiles=("hotfix",),
            ),
        ),
        business_hours=(
            BusinessHours(
                zone="Europe/Berlin",
                days=("mon", "tue", "wed", "thu"),
                start=time(9),
                end=time(16),
                country="DE",
                subdivision="BE",
                dates=(date(2026, 12, 31),),
                environments=("prod",),
            ),
        ),
        facts={
            "billing_changes": DerivedFact(name="billing_changes", changed=("billing/**", "migrations/*charge*")),
        },
        roles={
            "release_manager": Role("release_manager", "Release manager", ("ann@x.example",)),
            "engineering_lead": Role("engineering_lead", "", ("bob@x.example", "ann@x.example")),
            "security_lead": Role("security_lead", "", ("cyd@x.example",)),
        },
        people={
            "ann@x.example": Person("ann@x.example", "Ann", "", "+49 30 1"),
            "bob@x.example": Person("bob@x.example", "Bob", "robert@mail.example"),
            "cyd@x.example": Person("cyd@x.example"),
        },
    )


def test_what_was_read_comes_back_from_the_record(folder: Any) -> None:
    folder.write("gates/policy.yaml", POLICY)
    rules = folder.load().rules
    assert rules_from_document(rules_to_document(rules)) == rules


def test_without_the_files_there_are_no_rules(product: Any) -> None:
    assert (
        product.load("phase: predeploy\nitems: [{item: a, title: T, gates: [{id: a, title: t, http: /x}]}]").rules
        is None
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("waive: [{severity: [low]}]", ["1:9: missing key 'roles'", "    The roles that may."]),
        ("waive: [{roles: []}]", ["1:17: expected at least 1, got 0"]),
        ("wave: []", ["1:1: unknown key 'wave'", "    did you mean 'waive'?"]),
        (
            "waive: [{roles: [release_manger]}]",
            ["1:18: unknown role 'release_manger'", "    did you mean 'release_manager'?"],
        ),
        (
            "waive: [{roles: [release_manager], severity: [hihg]}]",
            ["1:47: expected critical, high, medium or low, got the text 'hihg'", "    did you mean 'high'?"],
        ),
        (
            "attest: [{roles: [release_manager], gates: [6.1.9]}]",
            ["1:45: '6.1.9' names no gate", "    did you mean '6.1."],
        ),
        (
            "attest: [{roles: [release_manager], kinds: [htpp]}]",
            ["1:45: unknown check 'htpp'", "    did you mean 'http'?"],
        ),
        (
            "waive: [{roles: [release_manager], for_at_most: 30}]",
            ["1:49: expected a duration such as 500ms, 30s, 15m, 24h or 90d, got '30'"],
        ),
        ("signed: [fact]", ["1:10: expected attestation, waiver or revocation, got the text 'fact'"]),
        ("after: {prod: [stagng]}", ["1:16: unknown environment 'stagng'", "    did you mean 'staging'?"]),
        ("after: {prd: [staging]}", ["1:14: unknown environment 'prd'", "    did you mean 'prod'?"]),
        ("after: {prod: [prod]}", ["1:15: prod comes after itself"]),
        ("after: {prod: [staging], staging: [prod]}", ["1:15: prod comes after itself"]),
        (
            "freeze: [{from: 0001-01-01T00:00:00+14:00, until: 2027-01-04T06:00:00Z, reason: r}]",
            [
                "1:17: expected an instant with its offset, such as 2026-12-20T00:00:00+01:00, "
                "got '0001-01-01T00:00:00+14:00'"
            ],
        ),
        (
            "freeze: [{from: 2026-12-20T00:00:00, until: 2027-01-04T06:00:00Z, reason: r}]",
            ["1:17: expected an instant with its offset, such as 2026-12-20T00:00:00+01:00, got '2026-12-20T00:00:00'"],
        ),
        (
            "freeze: [{from: 2026-12-20T00:00:00Z, until: 2026-12-19T00:00:00Z, reason: r}]",
            ["1:46: the freeze ends before it begins"],
        ),
        (
            "freeze: [{from: 2026-12-20T00:00:00Z, until: 2026-12-21T00:00:00Z}]",
            ["1:10: missing key 'reason'", "    Why."],
        ),
        (
            "freeze: [{from: 2026-12-20T00:00:00Z, until: 2026-12-21T00:00:00Z, reason: r, environments: [prd]}]",
            ["1:94: unknown environment 'prd'", "    did you mean 'prod'?"],
        ),
        (
            "freeze: [{from: 2026-12-20T00:00:00Z, until: 2026-12-21T00:00:00Z, reason: r, except: [hotfix]}]",
            ["1:88: unknown profile 'hotfix'", "    profiles stand in the same file"],
        ),
        (
            "business_hours: {zone: Europe/Berln}",
            ["1:24: expected a zone such as Europe/Berlin or UTC, got 'Europe/Berln'"],
        ),
        (
            'business_hours: {zone: UTC, hours: "16:00-09:00"}',
            ["1:36: expected hours such as 09:00-16:00, got '16:00-09:00'"],
        ),
        (
            "business_hours: {zone: UTC, days: [monday]}",
            ["1:36: expected mon, tue, wed, thu, fri, sat or sun, got the text 'monday'"],
        ),
        ("business_hours: {zone: UTC, days: []}", ["1:35: expected at least 1, got 0"]),
        ("waive: [{roles: [security_lead], gates: []}]", ["1:41: expected at least 1, got 0"]),
        (
            "business_hours: {zone: UTC, holidays: {country: Germany}}",
            ["1:49: expected a country of ISO 3166-1 whose holidays are known, such as DE, got 'Germany'"],
        ),
        (
            "business_hours: {zone: UTC, holidays: {country: DE, subdivision: BX}}",
            ["1:39: subdivision: expected a part of DE, got 'BX' (known: Augsburg, BB, BE"],
        ),
        (
            "business_hours: {zone: UTC, holidays: {subdivision: BE}}",
            ["1:39: subdivision: expected a country beside it, got 'BE' alone"],
        ),
        (
            "business_hours: {zone: UTC, holidays: {dates: [31.12.2026]}}",
            ["1:48: expected a date such as 2026-12-31, got '31.12.2026'"],
        ),
        (
            "business_hours: [{zone: UTC}, {zone: UTC, environments: [prd]}]",
            ["1:58: unknown environment 'prd'", "    did you mean 'prod'?"],
        ),
        (
            "profiles: {hotfix: {deferred_until: 72h, approved_by: []}}",
            ["1:55: expected at least 1, got 0"],
        ),
        (
            "profiles: {hotfix: {deferred_until: 72h, approved_by: [boss]}}",
            ["1:56: unknown role 'boss'"],
        ),
        (
            "profiles: {hotfix: {deferred_until: 72h, approved_by: [security_lead]}}",
            ["1:56: no gate asks a security_lead to sign", "    add one: sign_off: security_lead"],
        ),
        (
            'profiles: {hotfix: {deferred_until: 72h, approved_by: [release_manager], must_hold: {gates: ["9.*"]}}}',
            ["1:94: '9.*' names no gate"],
        ),
        ("facts: {billing: {changed: []}}", ["1:28: expected at least 1, got 0"]),
        ("items: []\n", ["1:1: gates in policy.yaml", "1:1: unknown key 'items'"]),
    ],
)
def test_what_is_wrong_with_a_policy(folder: Any, text: str, lines: list[str]) -> None:
    told = folder.told(text, "gates/policy.yaml")
    expected = [line if line.startswith(" ") else f"gates/policy.yaml:{line}" for line in lines]
    assert [line for line in expected if not any(said.startswith(line) for said in told)] == [], told


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("people: {}", "gates/stakeholders.yaml:1:1: missing key 'roles'"),
        ("roles: {release_manager: [ann]}", "gates/stakeholders.yaml:1:26: expected a mapping of keys to values"),
        (
            "roles: {engineering_lead: {people: [ann]}}",
            "gates/a.yaml:8:9: gate 6.1.3 asks a release_manager to sign, and nobody holds that role",
        ),
        (
            "roles: {release_manager: {people: []}, engineering_lead: {people: [ann]}}",
            "gates/a.yaml:8:9: gate 6.1.3 asks a release_manager to sign, and nobody holds that role",
        ),
        (
            "roles: {release_manager: {people: [ann]}, engineering_lead: {people: [ann]}}",
            "gates/a.yaml:9:9: one person signs for one role, and that leaves nobody for engineering_lead: ann",
        ),
        (
            "roles: {release_manager: {people: [an]}, engineering_lead: {people: [bob]}}\npeople: {ann: {}, bob: {}}",
            "gates/stakeholders.yaml:1:36: an is not among the people",
        ),
        (
            "roles: {release_manager: {people: [ann]}, engineering_lead: {people: [bob]}}\npeople: {ann: {mail: x}}",
            "gates/stakeholders.yaml:2:16: unknown key 'mail'",
        ),
    ],
)
def test_what_is_wrong_with_stakeholders(folder: Any, text: str, line: str) -> None:
    told = folder.told(text, "gates/stakeholders.yaml")
    assert any(said.startswith(line) for said in told), told


def test_one_mistake_is_told_once(folder: Any) -> None:
    told = folder.told("business_hours: {zone: UTC, dys: [mon]}", "gates/policy.yaml")
    assert [line for line in told if not line.startswith(" ")] == ["gates/policy.yaml:1:29: unknown key 'dys'"]


def test_a_role_can_be_signed_for_when_its_other_holder_is_free(folder: Any) -> None:
    text = "roles: {release_manager: {people: [ann]}, engineering_lead: {people: [ann, bob]}}"
    folder.write("gates/stakeholders.yaml", text)
    assert list(folder.load().rules.roles) == ["release_manager", "engineering_lead"]


def test_sign_offs_need_stakeholders(product: Any) -> None:
    told = product.told(GATES)
    assert "gates/a.yaml:8:9: gate 6.1.3 asks a release_manager to sign, and nobody holds that role" in told[0]


def test_all_problems_of_all_files_at_once(folder: Any) -> None:
    folder.write("gates/policy.yaml", "wave: []\nafter: 5\n")
    folder.write("gates/allowed_signers", "ann@x.example ssh-ed25519 nonsense\n")
    told = folder.told("roles: []\n", "gates/stakeholders.yaml")
    for place in ("policy.yaml:1:1", "policy.yaml:2:8", "allowed_signers:1", "stakeholders.yaml:1:8"):
        assert any(line.startswith(f"gates/{place}") for line in told), told


def test_editors_are_told_what_the_loader_takes(folder: Any) -> None:
    for schema, text in ((policy_schema(), POLICY), (stakeholders_schema(), STAKEHOLDERS)):
        Draft202012Validator.check_schema(schema)
        tree = read(folder.write("x.yaml", text), "x.yaml")
        assert [error.message for error in Draft202012Validator(schema).iter_errors(tree.value)] == []
        assert not Draft202012Validator(schema).is_valid({**tree.value, "wave": []})
    assert not Draft202012Validator(policy_schema()).is_valid({"waive": [{"severity": ["low"]}]})
