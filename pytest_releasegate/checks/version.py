"""`version`: what runs is what was released, on every instance."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, StrictInt, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Duration, Parameters
from pytest_releasegate.sources.htmlpages import metas
from pytest_releasegate.sources.http import Query, ask, public_url
from pytest_releasegate.sources.jsonpaths import dotted, parsed, under
from pytest_releasegate.sources.login import busy
from pytest_releasegate.sources.text import OneOrMore
from pytest_releasegate.sources.tls import authority_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["Version", "others"]

_LONGEST = 30.0
_LARGEST = 8 * 1024 * 1024
_SHORTEST_COMMIT = 7
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_MOST_SHOWN = 60
_RUNS = re.compile(r"v?[0-9]+\.[0-9][\w.+-]*|[0-9a-fA-F]{7,64}")
_ANSWERS = re.compile(r" \([0-9]+ of [0-9]+ answers\)$")
_LONGER_BEFORE = re.compile(r"[0-9.]*\Z")
_LONGER_AFTER = re.compile(r"(?:[0-9A-Za-z]|[-+](?=[0-9A-Za-z])|\.(?=[0-9]|dev|post|rc))*")


def _place(text: str) -> str:
    """Read where a value stands; raises `ValueError` where the pattern of a text has not exactly one group."""
    how, _, what = text.partition(" ")
    if how == "text":
        try:
            groups = re.compile(what).groups
        except re.error as error:
            raise ValueError(f"{what}: {error}") from None
        if groups != 1:
            raise ValueError(f"expected a pattern with one group, such as `text Release (\\S+)`, got '{text}'")
    elif " " in text and how not in ("header", "meta"):
        raise ValueError(f"expected a JSON path, `header NAME`, `meta NAME` or `text PATTERN`, got '{text}'")
    return text if " " in text else dotted(text)


Place = Annotated[str, Field(min_length=1), AfterValidator(_place)]


class Version(Parameters):
    """The version and the commit that every instance says it runs; the denominator is the answers.

    ```yaml
    version: {url: /version, retry_for: 60s}
    ```
    """

    kind: ClassVar[str] = "version"
    waits: ClassVar[bool] = True
    shorthand: ClassVar[str] = "url"

    url: Annotated[tuple[str, ...], OneOrMore, Field(min_length=1)]
    """Where it stands: a path or a URL, or a list with one for each instance."""
    version: Place | None = "version"
    """Where the version stands there: a dotted JSON path, `header NAME`, `meta NAME` of an HTML page, or
    `text PATTERN` with one group; `null` leaves it out."""
    commit: Place | None = "commit"
    """Where the commit stands, in full or by its first seven digits at least; `null` leaves it out."""
    expect: Literal["release", "previous"] | Annotated[str, Field(pattern=r"^v?[0-9]")] = "release"
    """What must run: the release, after going back the `previous` one, or a version."""
    asks: Annotated[StrictInt, Field(ge=1, le=100)] = 8
    """How often each is asked, each time by a new connection, since a load balancer may have instances behind it."""
    retry_for: Duration | None = None
    """How long to go on asking until all say it: as long as a rollout may take."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""
    keep: str = "running"
    """The name that the version is kept under in the record, after `version/`."""
    before: str = ""
    """The whole name of any measurement by which `previous` is known, such as `metrics/web`; by default that of
    `keep`."""

    @model_validator(mode="after")
    def _something(self) -> Version:
        if self.version is None and self.commit is None:
            raise ValueError("expected `version`, `commit` or both, got neither")
        if len(set(self.url)) < len(self.url):
            raise ValueError("`url` names the same one twice; `asks` says how often each is asked")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask every instance, and compare."""
        version, commit = self._wanted(context)
        answered = 0
        for url in self.url:
            where = public_url(context.resolve(url.partition("?")[0], secret=False))
            answers = [self._ask(url, context) for _ in range(self.asks)]
            answered += len(answers)
            if self.version is not None:
                yield _compare(f"version at {where}", version, [_read(self.version, one) for one in answers], _same)
            if self.commit is not None and commit:
                yield _compare(f"commit at {where}", commit, [_read(self.commit, one) for one in answers], _same_commit)
        context.keep(f"version/{self.keep}", {"version": version, "commit": commit})
        yield counted("answers", answered, len(self.url) * self.asks)

    def _wanted(self, context: Context) -> tuple[str, str]:
        """The version and the commit that must run; the commit may be unknown where it is not the release's."""
        release = context.release
        if self.expect == "release":
            if self.commit is not None and not release.git_commit:
                raise CannotLook(f"release {release.name} knows no git_commit", "open it with its commit")
            return release.version, release.git_commit if self.commit else ""
        version, commit = self.expect, ""
        if self.expect == "previous":
            name = self.before or f"version/{self.keep}"
            kept = context.recorded(name, of="previous")
            if kept is None:
                what = f"no release before {release.name} kept '{name}'"
                raise CannotLook(what, "write the version as `expect`, or let a gate keep it in each release")
            # what was kept says what ran, which is not the release where that went back in its turn
            said = kept.value if isinstance(kept.value, dict) else {}
            version, commit = str(said.get("version") or kept.version), str(said.get("commit") or "")
        if self.version is None and not commit:
            raise CannotLook(f"nothing says which commit {version} is", "look at its `version`")
        return version, commit

    def _ask(self, url: str, context: Context) -> Answer:
        ca = authority_file(context.root, context.resolve(self.ca, secret=False))
        query = Query(url=context.url(url), redirects=True, ca=ca, max_size=_LARGEST)
        return ask(query, clock=context.clock, limit=context.remaining(_LONGEST))


def others(finding: Finding) -> list[str]:
    """The versions or commits that ran in the place of the wanted one; none where the answer told nothing."""
    if finding.ok is not Ok.NO or not finding.name.startswith(("version at ", "commit at ")):
        return []
    same = _same if finding.name.startswith("version") else _same_commit
    said = [_ANSWERS.sub("", part) for part in finding.actual.split(", ")]
    return [part for part in said if _RUNS.fullmatch(part) and not same(part, finding.expected)]


@dataclass(frozen=True, slots=True)
class _Said:
    """What one answer says: a value, or why there is none."""

    value: str = ""
    trouble: str = ""
    busy: bool = False


def _compare(name: str, wanted: str, said: Sequence[_Said], same: Callable[[str, str], bool]) -> Finding:
    """One instance, asked once or more often: all of its answers must agree."""
    wrong = [one for one in said if one.trouble or not same(one.value, wanted)]
    if not wrong:
        return find(name, expected=wanted, actual=said[0].value, ok=True)
    seen = Counter(one.trouble or _shown(one.value) for one in said)
    parts = [f"{text} ({number} of {len(said)} answers)" if len(seen) > 1 else text for text, number in seen.items()]
    ok = Ok.CANNOT_TELL if all(one.busy for one in wrong) else False
    return find(name, expected=wanted, actual=", ".join(parts), ok=ok)


def _same(said: str, wanted: str) -> bool:
    return said.removeprefix("v") == wanted.removeprefix("v")


def _same_commit(said: str, wanted: str) -> bool:
    """Whether one is the beginning of the other, seven digits at least."""
    if not _COMMIT.fullmatch(said.lower()):
        return False  # such as one of a tree that was changed after it: `1f2e3d4-dirty`
    short, long = sorted((said.lower(), wanted.lower()), key=len)
    return len(short) >= _SHORTEST_COMMIT and long.startswith(short)


def _shown(value: str) -> str:
    return value if len(value) <= _MOST_SHOWN else f"{value[:_MOST_SHOWN]}..."


def _read(place: str, answer: Answer) -> _Said:
    if not 200 <= answer.status < 300:
        return _Said(trouble=f"{answer.status} {answer.reason}".strip(), busy=busy(answer))
    how, _, what = place.partition(" ")
    if how == "header" and what:
        found: Any = answer.headers.get(what)
    elif how == "meta" and what:
        found = next((content for name, content in metas(answer.text) if name == what.lower()), None)
    elif how == "text" and what:
        match = re.search(what, answer.text)
        found = _whole(match) if match else None
    else:
        return _in_json(place, answer)
    return _Said(value=found.strip()) if found and found.strip() else _Said(trouble=f"no {place}")


def _whole(match: re.Match[str]) -> str:
    """What the group holds, with what of it stands beyond the pattern: `1.4.0` may be of `1.4.0-rc1`."""
    found = match[1] or ""
    before, after = match.string[: match.start()][-_MOST_SHOWN:], match.string[match.end() :][:_MOST_SHOWN]
    if found and match.start(1) == match.start():
        found = (_LONGER_BEFORE.search(before) or [""])[0].lstrip(".") + found
    if found and match.end(1) == match.end():
        found += (_LONGER_AFTER.match(after) or [""])[0]
    return found


def _in_json(path: str, answer: Answer) -> _Said:
    try:
        found = under(parsed(answer.body), path)
    except ValueError:
        return _Said(trouble="an answer that is not JSON")
    text = found.strip() if isinstance(found, str) else ""
    return _Said(value=text) if text else _Said(trouble=f"no text at {path}")
