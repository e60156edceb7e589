"""`migration`: what is dangerous about the migration files of a release."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pghazards import Hazard, Known
from pytest_releasegate.sources.pgpending import Pending
from pytest_releasegate.sources.pgplans import plans, sizes
from pytest_releasegate.sources.pgreview import hazards
from pytest_releasegate.sources.pgscratch import scratch
from pytest_releasegate.sources.pgsplit import split
from pytest_releasegate.sources.pgtables import aligned
from pytest_releasegate.sources.pgtrial import scripts, tried
from pytest_releasegate.sources.postgres import connect, database_name
from pytest_releasegate.sources.recent import digest, recent, share
from pytest_releasegate.sources.squawk import squawk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pgsplit import Script
    from pytest_releasegate.sources.pgtrace import Traced

__all__ = ["Ignored", "Migration"]

Aspect = Literal["syntax", "locks", "writes", "versions", "rollback"]
_ASPECTS: dict[str, Aspect] = {
    **dict.fromkeys(("syntax-error", "does-not-run", "ban-concurrent-index-creation-in-transaction"), "syntax"),
    **dict.fromkeys(("unbatched-write", "dml-with-ddl"), "writes"),
    **dict.fromkeys(("json-column", "adding-required-field", "renaming-column", "renaming-table"), "versions"),
    "disabling-row-security": "versions",
    **dict.fromkeys(("renaming-object", "ban-set-schema", "ban-drop-column", "ban-drop-table"), "versions"),
    **dict.fromkeys(("ban-drop-schema", "ban-drop-database", "ban-truncate", "ban-truncate-cascade"), "versions"),
    "missing-rollback-script": "rollback",
}
_EXPECTED: dict[Aspect, str] = {
    "syntax": "SQL that PostgreSQL runs",
    "locks": "no work under a lock that grows with a large table, no wait without end",
    "writes": "writes to large tables in batches",
    "versions": "a schema that the running version can use",
    "rollback": "a way back",
}


class Ignored(Parameters):
    """One hazard that somebody has thought about."""

    rule: str
    """The rule's name, such as `ban-drop-column`."""
    at: str
    """The file, or the file and its line, such as `migrations/004_names.up.sql:12`."""
    because: Annotated[str, StringConstraints(strip_whitespace=True, min_length=10)]
    """Why it is no hazard here."""


class Migration(Pending):
    """Migration files, read and tried on a scratch copy of the schema; the denominators are files and statements.

    Gates that ask about different things and otherwise the same share one review of the last hour.

    ```yaml
    migration:
      files: [migrations/*.up.sql]
      applied: select version from schema_migrations
      rollback: migrations/{name}.down.sql
      ignore:
        - {rule: ban-drop-column, at: "migrations/004_names.up.sql:12", because: 1.3 does not read it any more}
    ```
    """

    kind: ClassVar[str] = "migration"
    shorthand: ClassVar[str] = "files"

    about: list[Aspect] = Field(default=["syntax", "locks", "writes", "versions", "rollback"], min_length=1)
    """What is asked: by default everything."""
    rollback: str = ""
    """The way back of each file, such as `migrations/{name}.down.sql`; by default none is asked for."""
    ignore: list[Ignored] = Field(default_factory=list)
    """Hazards that were thought about, one by one."""
    transaction: Literal["auto", "file", "none"] = "auto"
    """Whether the runner puts each file into one transaction (`file`); `auto` goes by what the file says."""
    lock_timeout: bool = Field(default=True, strict=True)
    """Ask for a lock_timeout before a lock that others wait for; false where the runner sets it."""
    large_rows: int = Field(default=100_000, ge=1, strict=True)
    """From how many rows on a table is large; one of 64 MiB is large too."""
    without: list[str] = Field(default_factory=list)
    """Extensions that the scratch copy can do without."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many files there must be at least."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Migration:
        if "about" in self.model_fields_set and "rollback" in self.about and not self.rollback:
            raise ValueError("expected `rollback`: where the way back of each file is, such as down/{name}.sql")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Read, try, and ask the target how large its tables are; or take what a gate before has found of the same."""
        name = database_name(context, self.database)
        files = self.pending(context, name)
        chosen = self.model_dump(mode="json", include={"transaction", "large_rows", "without"})
        asked = digest([*(text for file in files for text in (file.name, file.text)), str(chosen)])
        review = recent(context, f"migration/{name}", asked)
        if review is None:
            review = self._review(context, name, files) if files else {"hazards": [], "evidence": {}, "statements": 0}
            share(context, f"migration/{name}", asked, review)
        for title, text in review["evidence"].items():
            context.attach(title, "text/plain", text.encode())
        told = [*(Hazard(**each) for each in review["hazards"]), *self._ways_back(context, files)]
        yield from self._tell(files, told)
        yield counted("migration files", len(files), self.least)
        yield counted("statements tried", review["statements"])

    def _review(self, context: Context, name: str, files: Sequence[Script]) -> dict[str, Any]:
        """All hazards, whatever is asked, as JSON values."""
        with connect(context, name) as connection:
            tables = sizes(connection)
            planned = list(plans(connection, context, files, tables))
        together = {"auto": None, "file": True, "none": False}[self.transaction]
        estimates = {(file.name, statement.line): rows for file, statement, rows, _ in planned}
        known = Known(tables, self.large_rows, together=together, strict=True, estimates=estimates)
        with scratch(context, name, "schema", without=self.without) as copy:
            traces = tried(copy, files, known, context.remaining())
        lines = (f"{file.name}:{each.line}: {rows} rows expected\n{plan}" for file, each, rows, plan in planned)
        evidence = {"plans.txt": "\n\n".join(lines), "statements.txt": _table(files, traces).decode()}
        return {
            "hazards": [asdict(hazard) for hazard in hazards(files, known, squawk(files), traces)],
            "evidence": {title: text for title, text in evidence.items() if text},
            "statements": sum(not each.statement.trouble for trace in traces for each in trace),
        }

    def _ways_back(self, context: Context, files: Sequence[Script]) -> Iterator[Hazard]:
        for file in files if self.rollback else ():
            base = file.name.rpartition("/")[2].removesuffix(".sql").removesuffix(".up")
            path = self.rollback.replace("{name}", base)
            if any(split(file.back)):
                continue
            if not (context.root / path).is_file():
                yield Hazard(file.name, 1, "missing-rollback-script", f"there is no {path}", "write it, and try it")
            elif not scripts([context.root / path], context.root)[0].statements:
                what = f"{path} holds no statement"
                yield Hazard(file.name, 1, "missing-rollback-script", what, "write it, and try it")

    def _tell(self, files: Sequence[Script], told: Sequence[Hazard]) -> Iterator[Finding]:
        asked = [hazard for hazard in told if _aspect(hazard.rule) in self.about]
        if not self.lock_timeout:
            asked = [hazard for hazard in asked if hazard.rule != "missing-lock-timeout"]
        used: set[int] = set()
        wrong: set[str] = set()
        for hazard in asked:
            place = next((n for n, each in enumerate(self.ignore) if _covers(each, hazard)), -1)
            reason = hazard.cleared or (self.ignore[place].because if place >= 0 else "")
            used |= {place}
            wrong |= set() if reason else {hazard.file}
            yield _finding(hazard, reason)
        for number, each in enumerate(self.ignore):
            if number not in used and _aspect(each.rule) in self.about:
                name = f"ignore {each.rule} at {each.at}"
                yield find(name, expected="such a hazard", actual="none there", ok=True, observe=True)
        good = len({file.name for file in files} - wrong)
        if good:
            wanted = "; ".join(_EXPECTED[aspect] for aspect in self.about if aspect != "rollback" or self.rollback)
            yield find("files without a hazard", expected=wanted, actual=f"{good} of {len(files)}", ok=True)


def _finding(hazard: Hazard, reason: str) -> Finding:
    expected = _EXPECTED[_aspect(hazard.rule)]
    name = f"{hazard.place} {hazard.rule}"
    if reason:
        return find(name, expected=expected, actual=f"{hazard.what}; none here: {reason}", ok=True, observe=True)
    return find(name, expected=expected, actual=f"{hazard.what}; {hazard.instead}".rstrip("; "), ok=False)


def _aspect(rule: str) -> Aspect:
    return _ASPECTS.get(rule, "locks")


def _covers(ignored: Ignored, hazard: Hazard) -> bool:
    names = {hazard.place, hazard.file, hazard.place.rpartition("/")[2], hazard.file.rpartition("/")[2]}
    return ignored.rule == hazard.rule and ignored.at in names


def _table(files: Sequence[Script], traces: Sequence[Sequence[Traced]]) -> bytes:
    heads = ("statement", "strongest locks", "rewritten", "scanned", "indexes built", "error")
    rows = (
        (
            f"{file.name}:{each.statement.line}",
            ", ".join(f"{table} {mode}" for table, mode in each.locks.items()) or "-",
            *(", ".join(sorted(names)) or "-" for names in (each.rewritten, each.scanned, each.indexed)),
            each.error or "-",
        )
        for file, trace in zip(files, traces, strict=True)
        for each in trace
    )
    return aligned(heads, rows)
