"""Which release, environment and product a command means, and why; a conflict names the choices."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_releasegate.check import Secrets
from pytest_releasegate.errors import CannotLook, UsageProblem, nearest
from pytest_releasegate.sources.git import answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_releasegate.checklist.environments import Environments
    from pytest_releasegate.model import Environment

__all__ = ["Asked", "Identity", "identify", "named_version", "record_at"]

_VERSION_TAG = re.compile(r"v?(\d+(?:\.\d+)+(?:[-+.]?[0-9A-Za-z.]+)*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user said: options of the command line, variables, ini values; empty where nothing."""

    release: str = ""
    environment: str = ""
    base_url: str = ""
    """A URL or the name of an environment, from the command line, `PYTEST_BASE_URL` or ini."""
    ini_release: str = ""
    ini_environment: str = ""
    commit: str = ""
    branch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The release that is meant, with where each part came from."""

    product: str
    version: str
    version_from: str
    environment: Environment
    environment_from: str
    base_url: str
    """The resolved URL; empty where its reference is not set."""
    commit: str
    branch: str
    overridden: bool = False
    """Whether another URL than the environment's own was named: what is seen there says nothing of the environment."""


def identify(
    root: Path, environments: Environments, asked: Asked, variables: Mapping[str, str] | None = None
) -> Identity:
    """Find out what is meant; raises `UsageProblem` where nothing says so or two things contradict."""
    variables = os.environ if variables is None else variables
    environment, environment_from, url = _environment(environments, asked, variables)
    version, version_from = _version(root, asked, variables)
    commit = asked.commit or _commit(root, version)
    return Identity(
        product=environments.product or root.name,
        version=version,
        version_from=version_from,
        environment=environment,
        environment_from=environment_from,
        base_url=url,
        commit=commit,
        overridden=bool(asked.base_url) and environment.base_url != _declared(environments, environment),
        branch=asked.branch or _branch(root, variables),
    )


def record_at(root: Path, said: str, ini: str) -> str:
    """The URL of the record: what the command says, RELEASEGATE_RECORD, the ini value, else a file under the root."""
    url = said or os.environ.get("RELEASEGATE_RECORD", "") or ini
    return url if "://" in url else f"sqlite:///{(root / (url or '.releasegate/record.db')).resolve()}"


def _environment(known: Environments, asked: Asked, variables: Mapping[str, str]) -> tuple[Environment, str, str]:
    names = dict(known.by_name)
    if not names:
        raise UsageProblem(
            "no environment is declared", "add gates/environments.yaml: environments: {prod: {base_url: ...}}"
        )
    by_url = _from_base_url(names, asked, variables)
    choices = [
        (asked.environment, "--env"),
        (by_url, f"--base-url={asked.base_url}"),
        (variables.get("RELEASEGATE_ENV", ""), "RELEASEGATE_ENV"),
        (asked.ini_environment, "ini releasegate_env"),
        (known.default, "default in environments.yaml"),
    ]
    said = [(name, source) for name, source in choices if name]
    if not said:
        raise UsageProblem("no environment is named", f"--env NAME, one of: {', '.join(names)}")
    name, source = said[0]
    if "," in name or name in known.fleets:
        raise UsageProblem(f"{source}: '{name}' is more than one environment", f"name one: {', '.join(names)}")
    if name not in names:
        raise UsageProblem(f"{source}: unknown environment '{name}'", nearest(name, [*names, *known.fleets]))
    if asked.environment and by_url and by_url != asked.environment:
        what = f"--env names '{asked.environment}', --base-url names '{by_url}'"
        raise UsageProblem(f"two environments are named: {what}", "name one of them")
    return _with_url(names[name], asked, by_url, variables, source)


def _declared(known: Environments, environment: Environment) -> str:
    return known.by_name[environment.name].base_url


def _with_url(
    environment: Environment, asked: Asked, by_url: str, variables: Mapping[str, str], source: str
) -> tuple[Environment, str, str]:
    if asked.base_url and not by_url:
        if environment.protected:
            what = f"'{environment.name}' is protected and has another base_url than {asked.base_url}"
            raise UsageProblem(what, "declare an environment for that URL")
        environment = replace(environment, base_url=asked.base_url)
        source += f", at {asked.base_url}"
    return environment, source, _resolved(environment.base_url, variables)


def _from_base_url(names: Mapping[str, Environment], asked: Asked, variables: Mapping[str, str]) -> str:
    """The environment that `--base-url` means: by its name, or the one that has the URL; empty for an unknown URL."""
    value = asked.base_url
    if not value or value in names:
        return value
    if "://" not in value:
        raise UsageProblem(f"--base-url: unknown environment '{value}'", nearest(value, list(names)))
    wanted = value.rstrip("/")
    found = [name for name, target in names.items() if _resolved(target.base_url, variables).rstrip("/") == wanted]
    if asked.environment in found:
        return asked.environment
    if len(found) > 1:
        raise UsageProblem(f"--base-url: {value} is the URL of {' and '.join(found)}", "name one with --env")
    if not found and not asked.environment:
        raise UsageProblem(f"--base-url: no environment has the URL {value}", f"--env NAME, one of: {', '.join(names)}")
    return found[0] if found else ""


def _resolved(url: str, variables: Mapping[str, str]) -> str:
    try:
        return Secrets(variables).resolve(url, secret=False)
    except CannotLook:
        return ""


def _version(root: Path, asked: Asked, variables: Mapping[str, str]) -> tuple[str, str]:
    for value, source in (
        (asked.release, "--release"),
        (variables.get("RELEASEGATE_RELEASE", ""), "RELEASEGATE_RELEASE"),
        (asked.ini_release, "ini releasegate_release"),
    ):
        if value:
            return value, source
    found, source = _said(root)
    if found:
        return found, source
    raise UsageProblem("no release is named", "--release VERSION, or set RELEASEGATE_RELEASE, or tag the commit")


def named_version(root: Path) -> str:
    """The version that the folder itself names: by a tag, its metadata or `git describe`; empty where nothing does.

    Raises `UsageProblem` where several tags do.
    """
    return _said(root)[0]


def _said(root: Path) -> tuple[str, str]:
    tags = _version_tags(root)
    if len(set(tags)) > 1:
        raise UsageProblem(f"the commit bears several version tags: {', '.join(tags)}", "name one with --release")
    if tags:
        return tags[0], "tag on the commit"
    declared = _project_version(root)
    if declared:
        return declared, "pyproject.toml"
    described = answer(root, "describe", "--tags", "--always", "--dirty")
    return described.removeprefix("v"), "git describe"


def _version_tags(root: Path) -> list[str]:
    found = (_VERSION_TAG.fullmatch(tag) for tag in answer(root, "tag", "--points-at", "HEAD").split())
    return sorted({match[1] for match in found if match})


def _project_version(root: Path) -> str:
    try:
        text = (root / "pyproject.toml").read_text(encoding="utf-8")
        project = tomllib.loads(text).get("project", {})
    except (OSError, ValueError):  # not there, not UTF-8, not TOML
        return ""
    return str(project.get("version", "")) if isinstance(project, dict) else ""


def _commit(root: Path, version: str) -> str:
    """The commit of the version's tag, else the one that is checked out."""
    for tag in (f"v{version}", version):
        commit = answer(root, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")
        if commit:
            return commit
    return answer(root, "rev-parse", "--verify", "--quiet", "HEAD")


def _branch(root: Path, variables: Mapping[str, str]) -> str:
    branch = answer(root, "symbolic-ref", "--short", "--quiet", "HEAD")
    ci = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_BRANCH", "CI_COMMIT_REF_NAME")
    return branch or next((variables[name] for name in ci if variables.get(name)), "")
