"""`incidents`: whether an incident is open, with us or with those that we depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.answers import Away
from pytest_releasegate.sources.pagers import SEVERITIES, URGENCIES, Incident, Source, listed
from pytest_releasegate.sources.text import OneOrMore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Incidents"]


class Incidents(Parameters):
    """No incident is open; the denominator is the services that answered.

    ```yaml
    incidents:
      sources:
        - {of: pagerduty, token: "${env:PAGERDUTY_TOKEN}", services: [Clinic]}
        - {of: statuspage, url: "https://status.supabase.com"}
      severities: [P1, P2, major, critical]
    ```
    """

    kind: ClassVar[str] = "incidents"
    waits: ClassVar[bool] = True
    shorthand: ClassVar[str] = "sources"

    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    """Who is asked: each must answer, or nobody can tell."""
    severities: Annotated[tuple[str, ...], OneOrMore] = ()
    """The severities, priorities, urgencies or impacts that count; by default all. One without any always counts."""

    @model_validator(mode="after")
    def _severities_that_are_there(self) -> Incidents:
        """Of a source whose words are all known, no incident would count by words that it has not."""
        for source in self.sources:
            known = SEVERITIES.get(source.of, ())
            if known and self.severities and not _plain(self.severities) & _plain(known):
                words = f"`{source.of}` knows {', '.join(known)}"
                raise ValueError(f"none of its incidents could count: {words}, got {', '.join(self.severities)}")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask each source, and name what is open."""
        answered = 0
        for number, source in enumerate(self.sources, start=1):
            name = f"source {number} ({source.of})"
            try:
                read, found = listed(source, context)
            except Away as away:
                yield find(name, expected="an answer", actual=str(away), ok=Ok.CANNOT_TELL)
                continue
            answered += 1
            yield from self._judged(source, name, found, read)
        yield counted("sources", answered, len(self.sources))

    def _judged(self, source: Source, name: str, found: list[Incident], read: int) -> Iterator[Finding]:
        concerned = [one for one in found if _meets(one.services, source.services)]
        open_now = 0
        for one in concerned:
            unranked = one.unranked and not _plain(self.severities) & _plain(URGENCIES)
            counts = unranked or _meets(one.severities, self.severities)
            open_now += counts
            yield find(
                f"{name}: incident {one.id}", expected="none open", actual=str(one), ok=False, observe=not counts
            )
        if not open_now:
            aside = f" ({len(found)} open that do not count)" if found else f" ({read} listed)"
            yield find(name, expected="no open incident", actual=f"none{aside}", ok=True)


def _meets(words: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether one of the words is wanted; without words, or where all is wanted, it is."""
    return not wanted or not words or not _plain(words).isdisjoint(_plain(wanted))


def _plain(words: Iterable[str]) -> set[str]:
    """Words as they are compared: `SEV-1` is `sev1`."""
    return {"".join(filter(str.isalnum, word.lower())) or word for word in words}
