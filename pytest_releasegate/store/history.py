"""What became of a release, from all events that are known of it, in whichever record they happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_releasegate.model import by_gate
from pytest_releasegate.store.documents import About, Document, plain
from pytest_releasegate.store.releases import REVIEW_AFTER
from pytest_releasegate.store.values import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Disagreement", "History", "fold", "name_of"]

_NONE = "(none)"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two records that cannot both be right about a release, and what to do."""

    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class History:
    """Where all events lead: the columns of the release's row but the plan's text, its people, the disagreements."""

    values: dict[str, Any] = field(default_factory=dict)
    plan: str = ""
    """The digest of the plan's text."""
    people: dict[str, tuple[str, str]] = field(default_factory=dict)
    disagreements: tuple[Disagreement, ...] = ()


def name_of(about: About) -> str:
    """The release as people say it."""
    product, version, environment, attempt = about
    return f"{product} {version}/{environment}{f' attempt {attempt}' if attempt > 1 else ''}"


def fold(about: About, events: Iterable[Document]) -> History:
    """Put the events of a release together; their order does not matter."""
    by_kind: dict[str, list[Document]] = {}
    for event in sorted(events, key=_when):
        by_kind.setdefault(event.kind, []).append(event)
    opened = by_kind.get("opened", [])
    if not opened:
        return History(disagreements=(Disagreement(f"{name_of(about)} was never opened", "copy the bundle whole"),))
    folding = _Folding(about, by_kind)
    values = {**folding.opening(), **folding.changed(), **folding.deployment(), **folding.rollback()}
    plan_digest, plan = folding.plan()
    values |= {"plan_digest": plan_digest, "facts": folding.facts(), "derived": folding.derived()}
    people = {
        role: (name, email)
        for event in by_kind.get("stakeholders", [])
        for role, (name, email) in event.said["people"].items()
    }
    return History(values, plan, people, tuple(folding.disagreements))


def _when(event: Document) -> tuple[str, str]:
    said = event.said
    return said.get("at") or said.get("opened_at") or said["deployed_at"], event.digest


class _Folding:
    def __init__(self, about: About, by_kind: Mapping[str, Sequence[Document]]) -> None:
        product, version, environment, attempt = about
        self._keys = {"product": product, "version": version, "environment": environment, "attempt": attempt}
        self._name = name_of(about)
        self._events = by_kind
        self._opened = by_kind["opened"]
        self.disagreements: list[Disagreement] = []

    def opening(self) -> dict[str, Any]:
        first = self._opened[0].said
        authors = {author: None for event in self._opened for author in event.said["authors"]}
        window = self._one("its window is", [_window(event) for event in self._opened if event.said["window_start"]])
        return {
            **self._keys,
            "opened_at": first["opened_at"],
            "git_commit": self._one("it is of commit", [event.said["git_commit"] for event in self._opened]),
            "git_branch": next((event.said["git_branch"] for event in self._opened if event.said["git_branch"]), ""),
            "window_start": window.partition(" to ")[0] or None,
            "window_end": window.partition(" to ")[2] or None,
            "profile": self._one("its profile is", [event.said["profile"] or _NONE for event in self._opened]).replace(
                _NONE, ""
            ),
            "authors": plain(list(authors)),
            "review_status": "",
            "was_rolled_back": False,
        }

    def deployment(self) -> dict[str, Any]:
        """A person's word, of which there can be one; else when the first gate saw it, in whichever record."""
        events = self._events.get("deployed", [])
        said = [event for event in events if not by_gate(event.said["person"])]
        self._one("it was deployed at", [event.said["deployed_at"] for event in said])
        if not events:
            return {}
        first = (said or events)[0].said
        at = first["deployed_at"]
        due = to_text(from_text(at) + REVIEW_AFTER)
        scheduled = {"review_status": "scheduled", "review_scheduled_at": due}
        return {"deployed_at": at, "deployed_by": first["person"], **scheduled}

    def rollback(self) -> dict[str, Any]:
        events = self._events.get("rolled_back", [])
        said = [f"{event.said['at']}: {event.said['reason']}" for event in events]
        if not self._one("it was rolled back at", said):
            return {}
        first = events[0].said
        return {"was_rolled_back": True, "rollback_at": first["at"], "rollback_reason": first["reason"]}

    def changed(self) -> dict[str, Any]:
        events = self._events.get("changed", [])
        return {name: value for event in events for name, value in event.said["values"].items()}

    def facts(self) -> str:
        """The newest word on each fact."""
        said = sorted([*self._opened, *self._events.get("facts", [])], key=_when)
        return plain({name: value for event in said for name, value in event.said["facts"].items()})

    def derived(self) -> str:
        replanned = [event.said["derived"] for event in self._events.get("replanned", [])]
        if anew := [derived for derived in replanned if derived is not None]:
            return plain(anew[-1])
        whole: dict[str, str] = {}
        for event in self._opened:
            whole |= {name: path for name, path in event.said["derived"].items() if path or not whole.get(name)}
        return plain(whole)

    def plan(self) -> tuple[str, str]:
        """The plan that no later event replaces, as its own digest and that of its text."""
        replanned = self._events.get("replanned", [])
        known = [*((event, "") for event in self._opened), *((event, event.said["at"]) for event in replanned)]
        last = [event for event, since in known if not any(_replaces(each, event, since) for each in replanned)]
        digests = sorted({event.said["plan_digest"] for event in last})
        if len(digests) > 1:
            _, version, environment, _ = self._keys.values()
            what = f"{self._name}: its plan is {' in one record and '.join(each[:12] for each in digests)} in another"
            hint = (
                f"check out the same gates for both, freeze them in the record that has others (releasegate replan "
                f"--release {version} --env {environment} --reason '...'), and do this again"
            )
            self.disagreements.append(Disagreement(what, hint))
        chosen = min((event for event in last or self._opened), key=_when)
        return chosen.said["plan_digest"], chosen.said["plan"]

    def _one(self, what: str, values: Sequence[str]) -> str:
        """The one value that all say who say any; the first, and a disagreement, where they do not agree."""
        known = list(dict.fromkeys(value for value in values if value))
        if len(known) > 1:
            hint = "only one can be right: leave out the other record's bundle, or open another attempt"
            self.disagreements.append(Disagreement(f"{self._name}: {what} {' and '.join(known)} in two records", hint))
        return known[0] if known else ""


def _replaces(later: Document, event: Document, since: str) -> bool:
    return bool(later.said["replaces"] == event.said["plan_digest"] and later.said["at"] > since)


def _window(event: Document) -> str:
    return f"{event.said['window_start']} to {event.said['window_end']}"
