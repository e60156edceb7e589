"""Which release, environment and product is meant: each source, its precedence, and each conflict."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checklist.environments import Environments
from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.lifecycle.identify import Asked, Identity, identify
from pytest_releasegate.model import Environment

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = Environments(
    {
        "prod": Environment(name="prod", base_url="https://ehr.example.com", protected=True),
        "staging": Environment(name="staging", base_url="${env:STAGING_URL}"),
        "twin": Environment(name="twin", base_url="https://twin.example.com/"),
        "other_twin": Environment(name="other_twin", base_url="https://twin.example.com"),
    }
)
VARIABLES = {"STAGING_URL": "https://staging.example.com/"}


class Repository:
    """A real git repository."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def git(self, *arguments: str) -> str:
        """What git answers, without the machine's own configuration."""
        names = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        people = {f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(
            ["git", "-C", str(self.root), *arguments],
            env={"PATH": os.environ["PATH"], **names, **people},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self) -> str:
        """A new commit; its id."""
        self.git("commit", "--allow-empty", "-q", "-m", "a change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository `shop` with one commit on the branch `main`."""
    made = Repository(tmp_path / "shop")
    made.root.mkdir()
    made.git("init", "-q", "-b", "main")
    made.commit()
    return made


def meant(root: Path, known: Environments = KNOWN, variables: Any = None, **asked: str) -> Identity:
    whole = {"environment": "prod"} if not asked.keys() & {"environment", "base_url", "ini_environment"} else {}
    return identify(root, known, Asked(**whole | asked), VARIABLES if variables is None else variables)


def refused(root: Path, known: Environments = KNOWN, variables: Any = None, **asked: str) -> str:
    with pytest.raises(UsageProblem) as told:
        identify(root, known, Asked(release="1", **asked), VARIABLES if variables is None else variables)
    return str(told.value)


def version(root: Path, **asked: Any) -> tuple[str, str]:
    found = meant(root, **asked)
    return found.version, found.version_from


def test_sources_of_the_version_in_their_order(repository: Repository) -> None:
    root, variables = repository.root, {"RELEASEGATE_RELEASE": "2.0"}
    assert version(root) == (repository.git("rev-parse", "--short", "HEAD"), "git describe")
    (root / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "5.0"\n')
    assert version(root) == ("5.0", "pyproject.toml")
    repository.git("tag", "v4.0.1")
    assert version(root) == ("4.0.1", "tag on the commit")
    assert version(root, ini_release="3.0") == ("3.0", "ini releasegate_release")
    assert version(root, ini_release="3.0", variables=variables) == ("2.0", "RELEASEGATE_RELEASE")
    assert version(root, release="1.0", ini_release="3.0", variables=variables) == ("1.0", "--release")


def test_git_describe_names_the_last_tag_and_what_came_after(repository: Repository) -> None:
    repository.git("tag", "-a", "v1.4.0", "-m", "x")
    repository.commit()
    found, source = version(repository.root)
    assert found.startswith("1.4.0-1-g")
    assert source == "git describe"


@pytest.mark.parametrize("tag", ["1.4", "v1.4.0", "v1.4.0-rc.1", "2026.3.1", "1.0.0+build.5"])
def test_version_tags(repository: Repository, tag: str) -> None:
    repository.git("tag", tag)
    assert version(repository.root) == (tag.removeprefix("v"), "tag on the commit")


def test_tags_that_are_no_versions_are_left_alone(repository: Repository) -> None:
    for tag in ("nightly", "v", "deploy-prod", "demo/1.4.0"):
        repository.git("tag", tag)
    repository.git("tag", "v1.4.0")
    repository.git("tag", "1.4.0")
    assert version(repository.root) == ("1.4.0", "tag on the commit")


def test_two_versions_on_one_commit(repository: Repository) -> None:
    repository.git("tag", "v1.4.0")
    repository.git("tag", "v1.5.0")
    with pytest.raises(UsageProblem) as told:
        meant(repository.root)
    assert str(told.value) == ("the commit bears several version tags: 1.4.0, 1.5.0\n    name one with --release")
    assert version(repository.root, release="1.5.0") == ("1.5.0", "--release")


@pytest.mark.parametrize(
    "text", [b"[project]\nname='x'\ndynamic=['version']\n", b"[tool]\n", b"[", b"\xff", b"project = 5\n"]
)
def test_project_file_without_a_version(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "pyproject.toml").write_bytes(text)
    with pytest.raises(UsageProblem, match="no release is named"):
        meant(tmp_path)


def test_nothing_names_a_version(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem) as told:
        meant(tmp_path)
    assert str(told.value) == (
        "no release is named\n    --release VERSION, or set RELEASEGATE_RELEASE, or tag the commit"
    )


def test_no_repository_and_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = meant(tmp_path, release="1.0")
    assert (outside.commit, outside.branch) == ("", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    without = meant(tmp_path, release="1.0")
    assert (without.commit, without.branch) == ("", "")


def test_repository_without_a_commit(tmp_path: Path) -> None:
    Repository(tmp_path).git("init", "-q", "-b", "main")
    found = meant(tmp_path, release="1.0")
    assert (found.commit, found.branch) == ("", "main")


@pytest.mark.parametrize("tag", ["v1.4.0", "1.4.0"])
def test_commit_is_that_of_the_versions_tag(repository: Repository, tag: str) -> None:
    tagged = repository.git("rev-parse", "HEAD")
    repository.git("tag", "-a", tag, "-m", "an annotated tag has an id of its own")
    head = repository.commit()
    assert meant(repository.root, release="1.4.0").commit == tagged
    assert meant(repository.root, release="1.5.0").commit == head
    assert meant(repository.root, release="1.4.0", commit="abc").commit == "abc"


def test_branch(repository: Repository) -> None:
    ci = {"CI_COMMIT_BRANCH": "of-ci", "GITHUB_REF_NAME": "of-github"}
    assert meant(repository.root, release="1", variables=ci).branch == "main"
    assert meant(repository.root, release="1", branch="said").branch == "said"
    repository.git("checkout", "-q", "--detach")
    assert meant(repository.root, release="1").branch == ""
    assert meant(repository.root, release="1", variables=ci).branch == "of-github"
    assert meant(repository.root, release="1", variables={"CI_COMMIT_BRANCH": "of-ci"}).branch == "of-ci"


def test_shallow_clone_knows_its_commit_and_its_tag(repository: Repository, tmp_path: Path) -> None:
    repository.git("tag", "v1.3.0")
    head = repository.commit()
    repository.git("tag", "v1.4.0")
    repository.git("clone", "-q", "--depth", "1", f"file://{repository.root}", str(tmp_path / "clone"))
    found = meant(tmp_path / "clone")
    assert (found.version, found.version_from, found.commit) == ("1.4.0", "tag on the commit", head)
    assert Repository(tmp_path / "clone").git("rev-parse", "--is-shallow-repository") == "true"


def test_shallow_clone_without_tags_says_only_its_commit(repository: Repository, tmp_path: Path) -> None:
    repository.git("tag", "v1.3.0")
    repository.commit()
    repository.git("clone", "-q", "--depth", "1", "--no-tags", f"file://{repository.root}", str(tmp_path / "clone"))
    short = Repository(tmp_path / "clone").git("rev-parse", "--short", "HEAD")
    assert version(tmp_path / "clone") == (short, "git describe")


def test_product_is_declared_or_the_folders_name(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    root.mkdir()
    assert meant(root, release="1").product == "shop"
    assert meant(root, Environments(KNOWN.by_name, product="clinic"), release="1").product == "clinic"


def environment(root: Path, default: str = "", variables: Any = None, **asked: str) -> tuple[str, str, str]:
    known = Environments(KNOWN.by_name, default=default)
    variables = VARIABLES | (variables or {})
    found = identify(root, known, Asked(release="1", **asked), variables)
    return found.environment.name, found.environment_from, found.base_url


def test_sources_of_the_environment_in_their_order(tmp_path: Path) -> None:
    url = "https://ehr.example.com"
    said = {"ini_environment": "prod"}
    named = {"RELEASEGATE_ENV": "staging"}
    assert environment(tmp_path, "prod") == ("prod", "default in environments.yaml", url)
    assert environment(tmp_path, "twin", **said) == ("prod", "ini releasegate_env", url)
    staging = "https://staging.example.com/"
    assert environment(tmp_path, "twin", named, **said) == ("staging", "RELEASEGATE_ENV", staging)
    by_name = environment(tmp_path, "twin", named, base_url="prod", **said)
    assert by_name == ("prod", "--base-url=prod", url)
    by_url = environment(tmp_path, "twin", named, base_url=f"{url}/", **said)
    assert by_url == ("prod", f"--base-url={url}/", url)
    assert environment(tmp_path, "twin", named, environment="prod", **said) == ("prod", "--env", url)
    assert environment(tmp_path, environment="prod", base_url="prod") == ("prod", "--env", url)


def test_url_that_is_a_reference_is_recognised(tmp_path: Path) -> None:
    found = environment(tmp_path, base_url="https://staging.example.com")
    assert found[:2] == ("staging", "--base-url=https://staging.example.com")


def test_reference_that_is_not_set_leaves_the_url_empty(tmp_path: Path) -> None:
    found = identify(tmp_path, KNOWN, Asked(release="1", environment="staging"), {})
    assert found.base_url == ""


def test_environment_at_another_url(tmp_path: Path) -> None:
    found = identify(tmp_path, KNOWN, Asked(release="1", environment="staging", base_url="http://10.0.0.1"), VARIABLES)
    assert (found.base_url, found.environment.base_url) == ("http://10.0.0.1", "http://10.0.0.1")
    assert found.environment_from == "--env, at http://10.0.0.1"


def test_url_of_two_environments_is_settled_by_env(tmp_path: Path) -> None:
    found = environment(tmp_path, environment="other_twin", base_url="https://twin.example.com")
    assert found[0] == "other_twin"


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (
            {},
            "no environment is named\n    --env NAME, one of: prod, staging, twin, other_twin",
        ),
        (
            {"environment": "prd"},
            "--env: unknown environment 'prd'\n    did you mean 'prod'? known: other_twin, prod, staging, twin",
        ),
        (
            {"ini_environment": "x"},
            "ini releasegate_env: unknown environment 'x'\n    known: other_twin, prod, staging, twin",
        ),
        (
            {"base_url": "prd"},
            "--base-url: unknown environment 'prd'\n    did you mean 'prod'? known: other_twin, prod, staging, twin",
        ),
        (
            {"base_url": "https://nobody.example.com"},
            "--base-url: no environment has the URL https://nobody.example.com\n"
            "    --env NAME, one of: prod, staging, twin, other_twin",
        ),
        (
            {"base_url": "https://twin.example.com"},
            "--base-url: https://twin.example.com is the URL of twin and other_twin\n    name one with --env",
        ),
        (
            {"environment": "staging", "base_url": "prod"},
            "two environments are named: --env names 'staging', --base-url names 'prod'\n    name one of them",
        ),
        (
            {"environment": "staging", "base_url": "https://ehr.example.com"},
            "two environments are named: --env names 'staging', --base-url names 'prod'\n    name one of them",
        ),
        (
            {"environment": "prod", "base_url": "https://elsewhere.example.com"},
            "'prod' is protected and has another base_url than https://elsewhere.example.com\n"
            "    declare an environment for that URL",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, asked: dict[str, Any], what: str) -> None:
    assert refused(tmp_path, **asked) == what


def test_unknown_name_in_the_variable(tmp_path: Path) -> None:
    told = refused(tmp_path, variables={"RELEASEGATE_ENV": "prd"})
    assert told.startswith("RELEASEGATE_ENV: unknown environment 'prd'")


def test_no_environments(tmp_path: Path) -> None:
    assert refused(tmp_path, Environments()).startswith("no environment is declared\n    add gates/environments.yaml")
