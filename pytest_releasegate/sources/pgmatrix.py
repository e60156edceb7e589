"""The cells of a row-level security matrix: which look each of them gets, and what it asks; all asked together."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.sources import pgprobes
from pytest_releasegate.sources.pgasks import SCRATCH, WRITE, Answer, Ask, Asker
from pytest_releasegate.sources.pgcells import (
    EMPTY,
    Cell,
    Reach,
    Seen,
    judge_counts,
    judge_exact,
    judge_inserts,
    told_key,
)
from pytest_releasegate.sources.pgplan import of_plan
from pytest_releasegate.sources.pgprobes import POISON, Probes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from pytest_releasegate.sources.pgpolicies import Catalogue, Persona
    from pytest_releasegate.sources.pgtables import Table

__all__ = ["LOOKS", "Asked", "Matrix", "spoil"]

CATALOGUE, READING, EXPLAIN, PROBE, COPY = LOOKS = ("catalogue", "read", "EXPLAIN", "probe", "scratch copy")
"""The ladder of looks; what reads is really read everywhere, writes as far as the environment allows."""
_LOOK = {WRITE: PROBE, SCRATCH: COPY}
_VERB = "reached"
_REFUSED = Reach(refused="no privilege")
Steps = Generator[list[Ask], dict[Ask, Answer], Seen]


@dataclass(frozen=True, slots=True)
class Asked:
    """A cell in its place."""

    table: Table
    persona: Persona
    command: str
    cell: Cell


@dataclass(slots=True)
class Matrix:
    """Looks at cells; `forbidden` says why no write is probed here, and nothing where they are."""

    asker: Asker
    catalogue: Catalogue
    forbidden: str
    uncopied: str = ""
    """Why no copy is made either, where one was asked for."""

    def look(self, cells: Sequence[Asked]) -> list[Seen]:
        """What is seen in each cell; their questions go together, in as many rounds as the longest needs."""
        steps = [self._steps(asked) for asked in cells]
        waiting: dict[int, list[Ask]] = {}
        seen: dict[int, Seen] = {}
        answers: dict[Ask, Answer] = {}
        going = dict.fromkeys(range(len(cells)))
        while going:
            for number in going:
                try:
                    waiting[number] = steps[number].send(answers) if number in waiting else next(steps[number])
                except StopIteration as ended:
                    seen[number] = ended.value
            going = {number: None for number in going if number not in seen}
            asks = dict.fromkeys(ask for number in going for ask in waiting[number])
            answers |= self.asker.ask([ask for ask in asks if ask not in answers])
        return [seen[number] for number in range(len(cells))]

    def unprobed(self, asked: Asked) -> str:
        """Why a cell cannot be probed; nothing where it can, or needs not be."""
        if asked.command == "select" or asked.command not in self.catalogue.held(asked.table, asked.persona).granted:
            return ""
        if self.forbidden:
            return self.forbidden
        if unfit := self.catalogue.security(asked.table).unfit.get(asked.command, ""):
            return f"cannot be probed without setting off {unfit}"
        known = self.catalogue.known(asked.table, asked.persona)
        if asked.command == "insert":
            why = pgprobes.unfit_for_insert(known)
            return f"cannot be probed: {why}" if why else ""
        return "" if pgprobes.write_of(asked.command, asked.table, known) else _NO_COLUMN

    def _steps(self, asked: Asked) -> Steps:
        if asked.command not in self.catalogue.held(asked.table, asked.persona).granted:
            return judge_counts(asked.cell, _REFUSED, _REFUSED, 0, "", CATALOGUE)
        cell, known = asked.cell, self.catalogue.known(asked.table, asked.persona)
        predicate = cell.predicate or (pgprobes.keys_of(known, cell.keys) if cell.keys else "")
        if cell.keys and not predicate:
            return Seen("the keys do not fit the table's primary key, or it has none", Ok.CANNOT_TELL, CATALOGUE)
        why = self.unprobed(asked)
        where = SCRATCH if why and SCRATCH in self.asker.connections else WRITE
        security = self.catalogue.security(asked.table)
        probes = Probes(asked.table, asked.persona, known, security.rows, where, security.checks)
        if asked.command == "select":
            return (yield from _select(probes, cell, predicate))
        if why and where != SCRATCH:
            return (yield from self._weak(asked, probes, predicate, why))
        return (yield from self._strong(asked, probes, predicate))

    def _strong(self, asked: Asked, probes: Probes, predicate: str) -> Steps:
        """A write as it acts, by a probe that writes nothing or on a copy."""
        cell = asked.cell
        if asked.command == "insert":
            return (yield from _insert(probes, cell))
        write = pgprobes.write_of(asked.command, asked.table, probes.columns)
        if not write:
            return Seen(_NO_COLUMN, Ok.CANNOT_TELL, CATALOGUE)
        if not predicate:
            return (yield from _blind(probes, cell, write))
        seen = yield from _exact(probes, cell, predicate, probes.reached(write), probes.reached(write, predicate))
        other = self.catalogue.held(asked.table, asked.persona).other_check
        if asked.command == "update" and seen.ok is Ok.YES and other:
            return (yield from self._change(asked, probes, predicate, seen))
        return seen

    def _change(self, asked: Asked, probes: Probes, predicate: str, seen: Seen) -> Steps:
        """Whether rows that the persona may change must stay within the predicate: WITH CHECK differs from USING."""
        poisoned = probes.poison(pgprobes.changeable(probes.columns))
        unfit = self.catalogue.security(asked.table).unfit.get("change", "") if probes.where == WRITE else ""
        if unfit:
            why = f"the check of changed rows cannot be probed without setting off {unfit}"
            return Seen(f"{seen.text}; {why}", Ok.CANNOT_TELL, seen.look)
        if probes.where == WRITE and not poisoned:
            why = "no NOT NULL column that no policy asks for, to probe the check of changed rows"
            return Seen(f"{seen.text}; {why}", Ok.CANNOT_TELL, seen.look)
        ask = probes.changes(predicate)
        found = yield [ask]
        told = [(sort, pgprobes.accepted(state, what, poisoned)) for sort, state, what in found[ask].offers]
        tried, made = [each for sort, each in told if not sort], [sort for sort, each in told if sort and each is True]
        if True in tried or made:
            such = "" if True in tried else f", such as with {made[0]}"
            return Seen(f"{seen.text}; but they may be changed into rows without it{such}", Ok.NO, seen.look)
        unclear = next((why for why in tried if isinstance(why, str)), "")
        return Seen(f"{seen.text}; {unclear}", Ok.CANNOT_TELL, seen.look) if unclear else seen

    def _weak(self, asked: Asked, probes: Probes, predicate: str, why: str) -> Steps:
        """A write that is not tried: what grants, policies and the plan alone decide."""
        cell, why = asked.cell, f"{why}; {self.uncopied}" if self.uncopied else why
        if not self.catalogue.security(asked.table).enabled:
            ok = Ok.YES if cell.word in ("allowed", "all") else Ok.NO
            return Seen("allowed by its grant, and no row security", ok, CATALOGUE)
        if asked.command not in self.catalogue.held(asked.table, asked.persona).policies:
            ok = Ok.YES if cell.word in ("denied", "none") else Ok.NO
            return Seen("denied: no policy permits it", ok, CATALOGUE)
        # a rule puts another statement in its place, whose plan says nothing
        ruled = self.catalogue.security(asked.table).unfit.get(asked.command, "").startswith("rule ")
        plain = asked.command != "insert" and not ruled
        write = pgprobes.write_of(asked.command, asked.table, probes.columns) if plain else ""
        total = probes.total()
        if not write:
            found = yield [total]
            return Seen(why if _number(found, total) else f"{why}; and {EMPTY}", Ok.CANNOT_TELL, CATALOGUE)
        return (yield from _by_plan(probes, cell, predicate, write, why))


_NO_COLUMN = "no column that can be set to null in a probe"


def spoil(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> None:
    """Make a copy fit for probes: no trigger and no rule acts, and no write can succeed."""
    connection.execute("set session_replication_role = replica")
    connection.execute("set row_security = off")
    for table in tables:
        connection.execute(f"alter table {table.sql} disable trigger user".encode())
        connection.execute(f"alter table {table.sql} add constraint {POISON} check (false) not valid".encode())


def _select(probes: Probes, cell: Cell, predicate: str) -> Steps:
    total, visible = probes.total(), probes.visible()
    if predicate:
        return (yield from _exact(probes, cell, predicate, visible, probes.visible(predicate), "visible", READING))
    found = yield [total, visible]
    if not (number := _number(found, total)):
        return Seen(EMPTY, Ok.CANNOT_TELL, READING)
    reach = _reach(found, visible)
    return judge_counts(cell, reach, reach, number, "visible", READING)


def _blind(probes: Probes, cell: Cell, write: str) -> Steps:
    """A write without WHERE first; what reaches no row so reaches none with one."""
    total, ask, readable = probes.total(), probes.reached(write), pgprobes.seeing(probes.columns)
    found = yield [total, ask]
    number, look = _number(found, total), _LOOK[probes.where]
    if not number:
        return Seen(EMPTY, Ok.CANNOT_TELL, look)
    blind = seeing = _reach(found, ask)
    if readable and (blind.rows or blind.refused):
        ask = probes.reached(write, readable)
        found = yield [ask]
        seeing = _reach(found, ask)
    return judge_counts(cell, seeing, blind, number, _VERB, look)


def _exact(
    probes: Probes, cell: Cell, predicate: str, reach: Ask, inside: Ask, verb: str = _VERB, look: str = ""
) -> Steps:
    total, wanted = probes.total(), probes.matching(predicate)
    found = yield [total, wanted, reach, inside]
    look = look or _LOOK[probes.where]
    if not (number := _number(found, total)):
        return Seen(EMPTY, Ok.CANNOT_TELL, look)
    reached, within = _reach(found, reach), _reach(found, inside)
    seen = judge_exact(cell, reached, within, _number(found, wanted), number, verb, look)
    if look == READING and reached.rows > within.rows and (ask := probes.others(predicate)):
        found = yield [ask]
        keys = ", ".join(map(told_key, found[ask].json or ()))
        return Seen(f"{seen.text}, with keys such as {keys}", seen.ok, look) if keys else seen
    return seen


def _insert(probes: Probes, cell: Cell) -> Steps:
    total, ask = probes.total(), probes.inserts(cell.predicate)
    found = yield [total, ask]
    look = _LOOK[probes.where]
    if not _number(found, total):
        return Seen(EMPTY, Ok.CANNOT_TELL, look)
    poisoned = probes.poison([column for column in probes.columns if column.insertable and not column.generated])
    tried = [(sort, pgprobes.accepted(state, what, poisoned)) for sort, state, what in found[ask].offers]
    inside, outside = ([told for sort, told in tried if sort is wanted] for wanted in (True, False))
    made = [str(sort) for sort, told in tried if not isinstance(sort, bool) and told is True]
    return judge_inserts(cell, inside, outside, look, made)


def _by_plan(probes: Probes, cell: Cell, predicate: str, write: str, why: str) -> Steps:
    """What the plan of a write of all rows decides: that it reaches none, or every one."""
    total, plan, visible = probes.total(), probes.plan(write), probes.visible()
    wanted = probes.matching(predicate) if predicate else total
    found = yield [total, plan, visible, wanted]
    number = _number(found, total)
    if found[plan].refused:
        refused = Reach(refused=found[plan].refused)
        return judge_counts(cell, refused, refused, number, _VERB, EXPLAIN)
    if not number:
        return Seen(f"{why}; and {EMPTY}", Ok.CANNOT_TELL, EXPLAIN)
    every, conditions = of_plan(found[plan].json)
    if every is None:
        shown = f"its plan reaches the rows with {conditions}, which does not tell which those are"
        text = f"{why}; {shown}" if conditions else why
        return Seen(text, Ok.CANNOT_TELL, EXPLAIN)
    reach = Reach(number if every else 0)
    if predicate:
        inside = Reach(_number(found, wanted) if every else 0)
        return judge_exact(cell, reach, inside, _number(found, wanted), number, _VERB, EXPLAIN)
    # a WHERE that reads adds the policies of SELECT, and those were really read
    seen = _reach(found, visible)
    return judge_counts(cell, reach if seen.refused or not every else seen, reach, number, _VERB, EXPLAIN)


def _number(found: dict[Ask, Answer], ask: Ask) -> int:
    answer = found[ask]
    if answer.refused:
        raise CannotLook(
            f"{ask.place}: {answer.refused}",
            "the role that looks must see every row: grant it pg_read_all_data, and alter role ... bypassrls",
        )
    return answer.numbers[0]


def _reach(found: dict[Ask, Answer], ask: Ask) -> Reach:
    answer = found[ask]
    return Reach(refused=answer.refused) if answer.refused else Reach(answer.numbers[0])
