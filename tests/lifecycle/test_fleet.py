"""Which environments are meant together: lists, names of fleets, and all that can be wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_releasegate.checklist.environments import Environments
from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.lifecycle.fleet import identities, targets
from pytest_releasegate.lifecycle.identify import Asked, identify
from pytest_releasegate.model import Environment

NAMES = ("prod-eu", "prod-us", "staging")
KNOWN = Environments(
    {name: Environment(name=name, base_url=f"https://{name}.example.com") for name in NAMES},
    fleets={"prod": ("prod-eu", "prod-us")},
)
BOTH = ("prod-eu", "prod-us")


@pytest.mark.parametrize(
    ("asked", "variables", "names", "source"),
    [
        ({"environment": "prod-eu,prod-us"}, {}, BOTH, "--env"),
        ({"environment": "prod"}, {"RELEASEGATE_ENV": "staging"}, BOTH, "--env"),
        ({"base_url": "prod-us, prod-eu"}, {}, BOTH[::-1], "--base-url=prod-us, prod-eu"),
        ({"base_url": "prod", "environment": "prod-us,prod-eu"}, {}, BOTH[::-1], "--env"),
        ({"ini_environment": "staging"}, {"RELEASEGATE_ENV": "prod,staging"}, NAMES, "RELEASEGATE_ENV"),
        ({"ini_environment": "prod"}, {}, BOTH, "ini releasegate_env"),
    ],
)
def test_several_are_meant(asked: dict[str, str], variables: dict[str, str], names: tuple[str, ...], source: str):
    found = targets(KNOWN, Asked(**asked), variables)
    assert found
    assert (found.names, found.source) == (names, source)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"environment": "prod-eu"},
        {"environment": "prod-eu", "ini_environment": "prod"},
        {"base_url": "https://prod-eu.example.com/a,b"},
        {"base_url": "staging", "ini_environment": "prod"},
    ],
)
def test_one_is_meant(asked: dict[str, str]):
    assert targets(KNOWN, Asked(**asked), {}) is None


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        (
            {"environment": "prod-eu,prod-uk,prod-eu,,https://x.example.com"},
            [
                "--env: 'prod-eu' is named 2 times",
                "    once is enough",
                "--env: unknown environment 'prod-uk'",
                "    did you mean 'prod-us'? known: prod, prod-eu, prod-us, staging",
                "--env: a name is missing beside a comma",
                "    such as prod-eu,prod-us",
                "--env: https://x.example.com is a URL, and targets that are looked at together are named",
                "    declare an environment for it",
            ],
        ),
        ({"environment": "prod,prod-us"}, ["--env: 'prod-us' is named 2 times", "    once is enough"]),
        (
            {"environment": "staging", "base_url": "prod"},
            [
                "two sets of environments are named: --env names 'staging', --base-url names 'prod'",
                "    name one of them",
            ],
        ),
        (
            {"environment": "prod", "base_url": "https://prod-eu.example.com"},
            [
                "two sets of environments are named: --env names 'prod', --base-url names 'https://prod-eu.example.com'",
                "    name one of them",
            ],
        ),
        (
            {"base_url": "https://a.example.com,prod-us"},
            [
                "--base-url=https://a.example.com,prod-us: https://a.example.com is a URL, and targets that are looked "
                "at together are named",
                "    declare an environment for it",
            ],
        ),
    ],
)
def test_all_mistakes_are_told_at_once(asked: dict[str, str], lines: list[str]):
    with pytest.raises(UsageProblem) as told:
        targets(KNOWN, Asked(**asked), {})
    assert str(told.value).splitlines() == lines


def test_each_target_has_its_own_identity(tmp_path: Any):
    found = identities(tmp_path, KNOWN, Asked(environment="prod", release="1.4.0"))
    assert [(one.environment.name, one.base_url, one.environment_from, one.version) for one in found] == [
        (name, f"https://{name}.example.com", "--env", "1.4.0") for name in BOTH
    ]


@pytest.mark.parametrize("name", ["prod", "prod-eu,prod-us"])
def test_what_is_about_one_environment_takes_no_fleet(tmp_path: Any, name: str):
    with pytest.raises(UsageProblem, match=f"--env: '{name}' is more than one environment") as told:
        identify(tmp_path, KNOWN, Asked(environment=name, release="1.4.0"), {})
    assert "name one: prod-eu, prod-us" in str(told.value)
