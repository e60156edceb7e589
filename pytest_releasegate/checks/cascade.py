"""`cascade`: deleting a row takes along, frees, or is stopped by the rows that refer to it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, StrictBool, field_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgcascades import Deletions, Rule, rules
from pytest_releasegate.sources.pgparams import Predicates, Settings
from pytest_releasegate.sources.pgpolicies import Persona
from pytest_releasegate.sources.pgrefusals import Told, taken_on
from pytest_releasegate.sources.pgtables import Table, aligned, named, user_tables
from pytest_releasegate.sources.postgres import connect, database_name, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Cascade"]

Word = Literal["cascade", "restrict", "set_null", "set_default"]
_MEANT = {
    "cascade": ("cascade",),
    "restrict": ("restrict", "no action"),
    "set_null": ("set null",),
    "set_default": ("set default",),
}


class Cascade(Parameters):
    """What deleting a row does to those that refer to it, by the catalogue and by a deletion that is undone.

    The deletion needs `probes`; triggers of the tables fire in it, and only where `triggers` says that they may. The
    denominator is the keys looked at.

    ```yaml
    cascade:
      on_delete: {clients: {notes: cascade, payments: restrict}, appointments: {notes: set_null}}
      most: 500
      as: service_role
    ```
    """

    kind: ClassVar[str] = "cascade"
    shorthand: ClassVar[str] = "on_delete"

    on_delete: dict[str, dict[str, Word]] = Field(min_length=1)
    """By parent and child, `cascade`, `restrict`, `set_null` or `set_default`; a child is a table, or a key's name."""
    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    look_at: Literal["deletion", "catalogue"] = Field(default="deletion", alias="look")
    """`deletion` also deletes one real parent for each child, and undoes it; `catalogue` only asks what is declared."""
    as_role: str = Field(default="", alias="as")
    """The role that the application takes on, as which rows are deleted; by default the one that looks."""
    settings: Settings = Field(default_factory=dict)
    """Settings that the policies of that role ask, such as `request.jwt.claims`."""
    where: Predicates = Field(default_factory=dict)
    """By parent, a predicate for the real rows of which one is deleted; by default any."""
    most: int = Field(default=1000, ge=1, strict=True)
    """How many rows one deletion may touch, all levels together."""
    triggers: StrictBool = False
    """Delete also where triggers of the tables fire; only where these call nothing outside."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many keys must be looked at at least."""

    @field_validator("on_delete")
    @classmethod
    def _children(cls, on_delete: dict[str, dict[str, Word]]) -> dict[str, dict[str, Word]]:
        for parent, children in on_delete.items():
            if not children:
                raise ValueError(f"on_delete.{parent}: expected at least one child, got none")
        return on_delete

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask the catalogue, and delete one row of each sort for a moment."""
        if self.look_at == "deletion":
            context.require_permission("probes", "`look: deletion`")
        name = database_name(context, self.database)
        needed = 2 if self.look_at == "deletion" else 1
        with several(context, name, most=needed, least=needed), ExitStack() as stack:
            reader = stack.enter_context(connect(context, name))
            tables = user_tables(reader)
            known = rules(reader, tables)
            deletions = self._deletions(stack, reader, context, name, tables, known)
            told = [each for parent in self.on_delete for each in self._of(parent, tables, known, deletions)]
        context.attach(
            "cascades.txt", "text/plain", _table(known, {named(each, tables).label for each in self.on_delete})
        )
        for what, wanted, seen, _ in told:
            yield find(what, expected=wanted, actual=seen.text, ok=seen.ok)
        yield from _undeclared(known, [rule for *_, rule in told if rule])
        yield counted("keys", sum(rule is not None for *_, rule in told), self.least)

    def _of(
        self, label: str, tables: Sequence[Table], known: Sequence[Rule], deletions: Deletions | None
    ) -> Iterator[tuple[str, str, Told, Rule | None]]:
        parent = named(label, tables)
        where = next((text for name, text in self.where.items() if named(name, tables) == parent), "")
        for child, word in self.on_delete[label].items():
            what, wanted = f"{child} of a deleted row of {parent.label}", " or ".join(_MEANT[word])
            rule, missing = _meant(child, parent, known)
            if rule is None:
                yield what, wanted, Told(missing, Ok.NO), None
            elif rule.faults or rule.action not in _MEANT[word]:
                yield what, wanted, Told(", ".join([str(rule), *rule.faults]) + _mend(rule, word), Ok.NO), rule
            elif deletions is None:
                yield what, wanted, Told(str(rule), Ok.YES), rule
            else:
                yield what, wanted, deletions.look(rule, where), rule

    def _deletions(
        self,
        stack: ExitStack,
        reader: psycopg.Connection[Any],
        context: Context,
        name: str,
        tables: Sequence[Table],
        known: Sequence[Rule],
    ) -> Deletions | None:
        if self.look_at == "catalogue":
            return None
        row = reader.execute("select pg_export_snapshot(), current_user::text").fetchone()
        shared, user = row or ("", "")
        writer = stack.enter_context(connect(context, name, writable=True, snapshot=shared))
        settings = {setting: context.resolve(value) for setting, value in self.settings.items()}
        persona = Persona("the role", self.as_role or user, settings)
        with taken_on(writer, persona):
            pass
        by_label = {table.label: table for table in tables}
        return Deletions(context, reader, writer, persona, by_label, known, self.most, self.triggers)


def _meant(child: str, parent: Table, known: Sequence[Rule]) -> tuple[Rule | None, str]:
    """The key that a gate means by a table or by its own name, or what is wrong with that."""
    keys = [rule for rule in known if rule.key.parent.label == parent.label]
    found = [rule for rule in keys if child in (rule.key.name, rule.key.child.label, rule.key.child.name)]
    if len(found) == 1:
        return found[0], ""
    if found:
        return None, f"several keys refer to it; name one: {', '.join(rule.key.name for rule in found)}"
    return None, f"no such key; there are {', '.join(rule.key.name for rule in keys) or 'none'}"


def _mend(rule: Rule, word: Word) -> str:
    if rule.faults:
        return ""
    key = rule.key
    return f"; to mend: give {key.name} of {key.child.label} ON DELETE {_MEANT[word][0].upper()}"


def _undeclared(known: Sequence[Rule], declared: Sequence[Rule]) -> Iterator[Finding]:
    """The other children of the declared parents, which a reader should know of."""
    parents = {rule.key.parent.label for rule in declared}
    rest = [rule for rule in known if rule.key.parent.label in parents and rule not in declared]
    if rest:
        actual = ", ".join(f"{rule.key.name} {rule}" for rule in rest)
        yield find("other keys to these tables", expected="any", actual=actual, ok=True, observe=True)


def _table(known: Sequence[Rule], parents: set[str]) -> bytes:
    rows = (
        (rule.key.parent.label, rule.key.child.label, rule.key.name, rule, ", ".join(rule.faults) or "-")
        for rule in known
        if rule.key.parent.label in parents
    )
    return aligned(("parent", "child", "key", "on delete", "faults"), rows)
