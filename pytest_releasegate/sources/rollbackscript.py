"""The rollback script of a release: written from the down files of its migrations, run by a person, all or nothing."""

# ruff: noqa: S608  names are checked, and values are quoted
from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_releasegate.errors import CannotLook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["OPERATOR", "DownFile", "RollbackScript", "down_files", "dropped"]

OPERATOR = "releasegate.operator"
"""The setting that says who runs the script."""
_TRANSACTION = "releasegate.transaction"
_BEFORE = "releasegate_before"
_BODY = "$releasegate$"


@dataclass(frozen=True, slots=True)
class DownFile:
    """One file that takes a migration back."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """The SHA-256 of its text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RollbackScript:
    """What a rollback script does, and what it must leave behind."""

    product: str
    release: str
    down: Sequence[DownFile]
    versions: Sequence[str]
    version_table: str
    version_column: str = "version"
    unrecord: str = ""
    """The statement that takes the versions out of their table; by default a DELETE."""
    audit: str = ""
    """The table of the audit log; empty where there is none."""
    operator_type: str = "uuid"
    gone: Sequence[str] = ()
    there: Sequence[str] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    """By table, how many rows more or less there must be."""
    lock_timeout: str = "5s"

    @property
    def verified(self) -> int:
        """How many things the script verifies."""
        return len(self.versions) + len(self.gone) + len(self.there) + len(self.rows)

    def text(self, *, way_back: bool = True) -> str:
        """The script; without the way back only to see that its verification refuses that."""
        parts = [self._head(), self._who(), self._audit(), self._before()]
        parts += [*(self._way_back() if way_back else ()), *self._record(), self._verify(), "COMMIT;\n"]
        return "\n".join(part for part in parts if part)

    def _head(self) -> str:
        name = f"rollback-{self.release}.sql"
        files = "\n".join(f"--   {down.name} (sha256 {down.digest[:16]})" for down in self.down)
        return (
            f"-- Rollback of {self.product} {self.release}, written by: releasegate rollback-sql\n"
            f"-- The way back is that of\n{files}\n"
            "-- A person runs it, with their own id, and the date stands in the audit log:\n"
            f"--   psql -v ON_ERROR_STOP=1 -c \"set {OPERATOR} = 'THEIR-ID'\" -f {name}\n"
            "-- All of it happens, or nothing.\n\n"
            f"BEGIN ISOLATION LEVEL REPEATABLE READ;\nSET LOCAL lock_timeout = {_literal(self.lock_timeout)};\n"
        )

    def _who(self) -> str:
        missing = f"nobody said who runs this: set {OPERATOR} = ''...''"
        checks = [
            f"IF coalesce(current_setting('{OPERATOR}', true), '') = '' THEN RAISE EXCEPTION '{missing}'; END IF;"
        ]
        checks += [
            f"IF NOT {self._recorded(version)} THEN RAISE EXCEPTION "
            f"{_literal(f'{version} is not applied: there is nothing to roll back')}; END IF;"
            for version in self.versions
        ]
        return _block("1. Who runs it, and is it there at all?", checks)

    def _audit(self) -> str:
        if not self.audit:
            return ""
        said = _literal(f"Database rollback initiated for release {self.release}")
        return (
            "-- 2. The audit log knows of it\n"
            f"INSERT INTO {self.audit} (user_id, action_type, resource_type, action_description, severity)\n"
            f"VALUES (current_setting('{OPERATOR}')::{self.operator_type}, 'configuration_change', 'settings', {said}, "
            "'critical');\n"
        )

    def _before(self) -> str:
        counts = [f"  SELECT {_literal(table)}, count(*) FROM {table}" for table in self.rows]
        head = "-- 3. What there is before, to verify what is left\n"
        note = f"SELECT set_config('{_TRANSACTION}', pg_current_xact_id()::text, false);\n"
        if not counts:
            return head + note
        body = "\n  UNION ALL\n".join(counts)
        return f"{head}{note}CREATE TEMPORARY TABLE {_BEFORE} (name, rows) ON COMMIT DROP AS\n{body};\n"

    def _way_back(self) -> Iterator[str]:
        for down in self.down:
            text = down.text.strip()
            # a comment may stand at the end
            end = "" if text.endswith(";") else "\n;"
            yield f"-- 4. The way back: {down.name}\n{text}{end}\n"

    def _record(self) -> Iterator[str]:
        yield "-- 5. The version table"
        if self.unrecord:
            yield f"{self.unrecord.strip().rstrip(';')};\n"
            return
        for version in self.versions:
            yield f"DELETE FROM {self.version_table} WHERE {self.version_column}::text = {_literal(version)};\n"

    def _verify(self) -> str:
        ended = (
            "the way back ended the transaction, so that not all of it can be undone: take COMMIT out of the down file"
        )
        own = f"pg_current_xact_id()::text IS DISTINCT FROM current_setting('{_TRANSACTION}', true)"
        checks = [_refuse(own, ended)]
        checks += [_refuse(self._recorded(version), f"{version} is still recorded") for version in self.versions]
        checks += [_refuse(_is_there(name), f"{name} is still there") for name in self.gone]
        checks += [_refuse(f"NOT ({_is_there(name)})", f"{name} is not there") for name in self.there]
        for table, change in self.rows.items():
            before = f"(SELECT b.rows FROM {_BEFORE} b WHERE b.name = {_literal(table)})"
            wanted = "as many rows as before" if change == 0 else f"{change:+d} rows"
            checks.append(_refuse(f"(SELECT count(*) FROM {table}) <> {before} + ({change})", f"{table}: not {wanted}"))
        checks.append("RAISE NOTICE 'Rollback verification passed';")
        return _block("6. Is all as it was?", checks)

    def _recorded(self, version: str) -> str:
        found = f"SELECT FROM {self.version_table} WHERE {self.version_column}::text = {_literal(version)}"
        return f"EXISTS ({found})"


def down_files(root: Path, names: Sequence[str]) -> list[DownFile]:
    """The texts of down files; raises `CannotLook` for one that is not there or empty."""
    found = []
    for name in names:
        try:
            text = (root / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise CannotLook(f"the down file {name} cannot be read", "correct `down` of the gate") from None
        if not text.strip():
            raise CannotLook(f"the down file {name} is empty", "write the way back into it")
        found.append(DownFile(name, text))
    return found


def dropped(text: str) -> list[str]:
    """The tables, views, indexes and columns that a down file drops, as far as it can be read."""
    import sqlglot
    from sqlglot import exp

    try:
        statements = [one for one in sqlglot.parse(text, dialect="postgres") if one is not None]
    except sqlglot.errors.SqlglotError:
        return []
    found: list[str] = []
    for one in statements:
        if isinstance(one, exp.Drop) and _sort(one) in ("TABLE", "VIEW", "INDEX", "SEQUENCE"):
            found += _targets(one)
        elif isinstance(one, exp.Alter):
            actions = [each for each in one.args.get("actions") or [] if isinstance(each, exp.Drop)]
            columns = [name for each in actions if _sort(each) == "COLUMN" for name in _targets(each)]
            found += [f"{one.this.sql('postgres', comments=False)}.{name}" for name in columns]
    return list(dict.fromkeys(found))


def _sort(drop: Any) -> str:
    return str(drop.args.get("kind") or "").upper()


def _targets(drop: Any) -> list[str]:
    # where they stand differs between the versions of sqlglot
    named = drop.args.get("tables") or [drop.args.get("this"), *drop.expressions]
    return [each.sql("postgres", comments=False) for each in named if each is not None]


def _is_there(name: str) -> str:
    """A condition that holds where a table, view, index or column of that name exists."""
    parts = re.findall(r'"(?:[^"]|"")*"|[^.]+', name)
    owner, last = ".".join(parts[:-1]), parts[-1]
    tests = [f"to_regclass({_literal(name)}) IS NOT NULL"] if len(parts) <= 2 else []
    if owner:
        column = last[1:-1].replace('""', '"') if last.startswith('"') else last.lower()
        where = f"attrelid = to_regclass({_literal(owner)}) AND attname = {_literal(column)} AND NOT attisdropped"
        tests.append(f"EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE {where})")
    return " OR ".join(tests)


def _refuse(condition: str, why: str) -> str:
    return f"IF {condition} THEN RAISE EXCEPTION {_literal(f'rollback refused: {why}'.replace('%', '%%'))}; END IF;"


def _block(title: str, lines: Sequence[str]) -> str:
    body = "\n".join(f"  {line}" for line in lines)
    return f"-- {title}\nDO {_BODY}\nBEGIN\n{body}\nEND {_BODY};\n"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
