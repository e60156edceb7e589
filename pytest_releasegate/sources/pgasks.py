"""Many small questions to a database in few round trips, each as somebody else, and each undone before the next.

They are the steps of one DO block: each is a sub-transaction of its own that takes on a persona, asks, and is rolled
back. DO gives no rows, so the questions come and the answers go through settings of the transaction; what is asked
never stands in the text of a statement. After each of them the block makes sure that nothing has been written.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg

    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgpolicies import Persona

__all__ = ["COUNTER", "READ", "SAMPLE", "SCRATCH", "WRITE", "Answer", "Ask", "Asker"]

READ, WRITE, SCRATCH = "read", "write", "scratch"
COUNTER = "releasegate.reached"
CHUNK_SECONDS = 45.0
"""Below the time that the other connections may sit idle in their transactions."""
SAMPLE = 3
_MOST_ASKS = 2000
_AWAKE_SECONDS = 10.0
_MOST_ROWS = 2_000_000
_REFUSED = "42501"
_WRITTEN = "RG002"
_HINTS = {
    "25006": "a predicate or a policy of SELECT writes; looking must not",
    "55P03": "something holds a lock on the table, such as a running migration; look again when it has ended",
}
# the limit holds from the second statement of the message on; what is executed must be read as it was checked
_RUN = """
select set_config('statement_timeout', {}, true), set_config('releasegate.asks', {}, true),
       set_config('standard_conforming_strings', 'on', true);
do $releasegate$
declare
    plan constant jsonb := current_setting('releasegate.asks')::jsonb;
    answers jsonb[] := array[]::jsonb[];
    answer jsonb;
    asked jsonb;
    who jsonb;
    part jsonb;
    found jsonb[];
    offered jsonb[];
    numbers bigint[];
    shown json;
    state text;
    said text;
    of_column text;
    of_constraint text;
    was text;
begin
    for asked in select value from jsonb_array_elements(plan -> 'asks') loop
        who := plan -> 'personas' -> (asked ->> 'who');
        offered := array[]::jsonb[];
        if asked ->> 'how' = 'offers' then
            for part in select value from jsonb_array_elements(asked -> 'samples') loop
                begin
                    for place in 0 .. coalesce((who ->> 'count')::int, 0) - 1 loop
                        was := set_config(who -> 'names' ->> place, who -> 'values' ->> place, true);
                    end loop;
                    if (part ->> 1)::boolean then
                        was := set_config('row_security', 'on', true);
                        was := set_config('role', who ->> 'role', true);
                    end if;
                    execute part ->> 0 into found;
                    raise exception using errcode = 'RG001';
                exception
                    when sqlstate 'RG001' then offered := offered || found;
                    when insufficient_privilege then continue;
                    when others then
                        continue when (part ->> 2)::boolean;
                        raise;
                end;
                continue when (part ->> 2)::boolean;
                exit when coalesce(cardinality(found), 0) < (asked ->> 'enough')::int;
            end loop;
            answer := '[]';
            for part in select distinct value from unnest(offered) as value loop
                begin
                    for place in 0 .. coalesce((who ->> 'count')::int, 0) - 1 loop
                        was := set_config(who -> 'names' ->> place, who -> 'values' ->> place, true);
                    end loop;
                    was := set_config('row_security', 'on', true);
                    was := set_config('role', who ->> 'role', true);
                    execute asked ->> 'sql' using part -> 1;
                    raise exception using errcode = 'RG001';
                exception when others then
                    get stacked diagnostics state = returned_sqlstate, of_column = column_name,
                        of_constraint = constraint_name;
                    of_column := coalesce(nullif(of_column, ''), of_constraint);
                    answer := answer || jsonb_build_array(jsonb_build_array(part -> 0, state, of_column));
                end;
            end loop;
            answer := jsonb_build_object('offers', answer);
        else
            begin
                for place in 0 .. coalesce((who ->> 'count')::int, 0) - 1 loop
                    was := set_config(who -> 'names' ->> place, who -> 'values' ->> place, true);
                end loop;
                was := set_config('releasegate.reached', '0', true);
                if (asked ->> 'as')::boolean then
                    was := set_config('row_security', 'on', true);
                    was := set_config('role', who ->> 'role', true);
                end if;
                if asked ->> 'how' = 'numbers' then
                    execute asked ->> 'sql' into numbers;
                    answer := jsonb_build_object('numbers', numbers);
                elsif asked ->> 'how' = 'json' then
                    execute asked ->> 'sql' into shown;
                    answer := jsonb_build_object('json', shown);
                else
                    execute asked ->> 'sql';
                    answer := jsonb_build_object('numbers', array[current_setting('releasegate.reached')::bigint]);
                end if;
                raise exception using errcode = 'RG001';
            exception
                when sqlstate 'RG001' then null;
                when others then
                    get stacked diagnostics state = returned_sqlstate, said = message_text;
                    answer := jsonb_build_object('state', state, 'said', said);
            end;
        end if;
        if pg_current_xact_id_if_assigned() is not null and not (plan ->> 'may_write')::boolean then
            raise exception using errcode = 'RG002', message = asked ->> 'place';
        end if;
        answers := answers || answer;
    end loop;
    perform set_config('releasegate.answers', to_jsonb(answers)::text, true);
end $releasegate$;
select current_setting('releasegate.answers')
"""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question; equal ones are asked once.

    `numbers` is a query for one array of numbers, `reached` a write that counts what it reaches, `json` a query for
    one JSON value,
    `offers` a write of the rows that the samples find, each tried alone.
    """

    how: str
    sql: str
    who: str = ""
    as_role: bool = True
    where: str = READ
    place: str = ""
    """What the question is about, for messages."""
    rows: int = 0
    """About how many rows it looks at."""
    samples: tuple[tuple[str, bool, bool], ...] = ()
    """Queries for an array of pairs `[sort, row]`, whether they are asked in the persona's role, and of made rows.

    After one of real rows the next is asked only where it finds as many as a sample holds; fewer are all there are.
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `refused` says why the command itself was not permitted."""

    numbers: tuple[int, ...] = ()
    refused: str = ""
    json: Any = None
    offers: tuple[tuple[bool | str, str, str], ...] = ()
    """Per offered row: its sort, the SQLSTATE that stopped it, and the column or constraint of that error.

    The sort of a made row is what was made of it.
    """


class Asker:
    """Asks on its connections: `read` is read-only, `write` must not write in the end, `scratch` may."""

    def __init__(
        self, context: Context, connections: dict[str, psycopg.Connection[Any]], personas: Mapping[str, Persona]
    ) -> None:
        self._context = context
        self.connections = connections
        self.personas = personas
        self._used: dict[str, float] = {}

    def ask(self, asks: Sequence[Ask]) -> dict[Ask, Answer]:
        """The answers; what reads comes first, so that a question which cannot be asked stops before the probes."""
        answers: dict[Ask, Answer] = {}
        for where in (READ, WRITE, SCRATCH):
            for chunk in _chunks([ask for ask in dict.fromkeys(asks) if ask.where == where]):
                found = self._run(where, chunk)
                answers.update((ask, _answer(ask, told)) for ask, told in zip(chunk, found, strict=True))
        return answers

    def _run(self, where: str, chunk: Sequence[Ask]) -> list[dict[str, Any]]:
        import psycopg
        from psycopg import sql

        self._stay_awake(where)
        limit = f"{max(1, int(1000 * self._context.remaining(CHUNK_SECONDS)))}ms"
        message = sql.SQL(_RUN).format(limit, self._plan(where, chunk))
        try:
            cursor = self.connections[where].execute(message)
        except psycopg.Error as error:
            raise _stopped(error, chunk) from None
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        told: list[dict[str, Any]] = json.loads(row[0]) if row else []
        return told

    def _stay_awake(self, where: str) -> None:
        """The other connections may not sit idle in their transactions for long."""
        now = self._context.clock.monotonic()
        for name, connection in self.connections.items():
            if name != where and now - self._used.get(name, now) > _AWAKE_SECONDS:
                connection.execute("select 1")
                self._used[name] = now
            self._used.setdefault(name, now)
        self._used[where] = now

    def _plan(self, where: str, chunk: Sequence[Ask]) -> str:
        used = {ask.who for ask in chunk if ask.who}
        personas = {name: _taken(self.personas[name]) for name in used}
        return json.dumps({"personas": personas, "asks": [_step(ask) for ask in chunk], "may_write": where == SCRATCH})


def _taken(persona: Persona) -> dict[str, Any]:
    settings = persona.settings
    return {"role": persona.role, "count": len(settings), "names": [*settings], "values": [*settings.values()]}


def _step(ask: Ask) -> dict[str, Any]:
    step = {"how": ask.how, "sql": ask.sql, "who": ask.who, "as": ask.as_role, "place": ask.place}
    return {**step, "samples": ask.samples, "enough": SAMPLE} if ask.samples else step


def _chunks(asks: Sequence[Ask]) -> Iterator[list[Ask]]:
    """Parts of which each may be expected to end in time."""
    chunk: list[Ask] = []
    rows = 0
    for ask in asks:
        if chunk and (len(chunk) == _MOST_ASKS or rows + ask.rows > _MOST_ROWS):
            yield chunk
            chunk, rows = [], 0
        chunk.append(ask)
        rows += ask.rows
    if chunk:
        yield chunk


def _answer(ask: Ask, told: dict[str, Any]) -> Answer:
    state = told.get("state", "")
    if state == _REFUSED:
        return Answer(refused=told["said"])
    if state:
        # such messages quote values out of rows
        said = re.sub(r'"[^"]*"', '"..."', told["said"]) if state[:2] in ("22", "23") else told["said"]
        hint = _HINTS.get(state, "correct the expectation, or the policy that asks this")
        raise CannotLook(f"{ask.place}: {said} (SQLSTATE {state})", hint)
    offers = tuple((sort, state, column) for sort, state, column in told.get("offers", ()))
    return Answer(tuple(told.get("numbers") or ()), "", told.get("json"), offers)


def _stopped(error: psycopg.Error, chunk: Sequence[Ask]) -> Exception:
    if error.sqlstate == _WRITTEN:
        return CannotLook(
            f"a probe of {error.diag.message_primary} was about to write, so all probes were stopped and undone",
            "a function in its policies writes: take the table out of `expect`, or look at a copy with `scratch: true`",
        )
    if error.sqlstate == "57014":
        places = sorted({ask.place for ask in chunk})
        return CannotLook(
            f"{len(chunk)} questions about {', '.join(places[:5])} did not end in time",
            "raise the gate's `timeout`, or give its policies the indexes that they need",
        )
    return error
