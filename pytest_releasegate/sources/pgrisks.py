"""What may be wrong with a statement of a migration, by its text alone, and what would prove that it is not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_releasegate.sources.pgddl import Action, referred
from pytest_releasegate.sources.pgwrites import blanked, is_bounded, writes_in

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Needs", "Risk", "risks", "strong_lock"]

Needs = Literal["scan", "rewrite", "index", "write", "lock", "versions", "failure"]
"""Why it is a risk: work that grows with the table, a lock that waits, what other versions expect, or sure failure."""
_CONSTANT = re.compile(
    r"""\(*\s*(?:[-+]?\d[\d.]*|''|true|false|null|array\s*\[[^\](]*\]|now\s*\(\s*\)|(?:statement|transaction)_timestamp\s*\(\s*\)
    |current_(?:timestamp|date|time|user|role|schema)(?:\s*\(\s*\d*\s*\))?|session_user|local(?:time|timestamp)
    |(?:timezone\s*\(\s*''\s*(?:::\s*\w+\s*)?,\s*)?now\s*\(\s*\)\s*\)?|(?:interval|date|time|timestamp|timestamptz|json|jsonb)\s+'')
    (?:\s*\)|\s*::\s*[\w." \[\](),]+?|\s+at\s+time\s+zone\s+''|\s*[-+]\s*(?:interval\s+)?(?:''|\d+))*\s*""",
    re.VERBOSE,
)
_DEFAULT = re.compile(
    r"\bdefault\s+(.*?)(?=\s+(?:not\s+null|null|unique|check|references|primary|constraint|generated|collate)\b|$)",
    re.DOTALL,
)
_WEAK = frozenset(
    {
        *("validate", "set-statistics", "create-view", "vacuum", "enum-value", "routine", "call", "timeout", "reset"),
        *("begin", "commit", "rollback", "set-local", "update", "delete", "merge", "insert", "do", "rename-object"),
        *("domain-constraint", "drop-view", "drop-database", "rename-index"),
    }
)
"""Verbs that keep nobody from writing."""


@dataclass(frozen=True, slots=True)
class Risk:
    """One thing that may be wrong."""

    rule: str
    needs: Needs
    table: str
    what: str
    instead: str


def risks(action: Action) -> Iterator[Risk]:
    """What may be wrong with an action by its text."""
    finder = _FINDERS.get(action.verb)
    if finder:
        yield from finder(action)


def strong_lock(action: Action) -> list[str]:
    """The tables that nobody can write to while the action waits or runs, by its text."""
    if action.verb in _WEAK or action.concurrently:
        return []
    if action.verb == "create-table":
        # a new table's own lock is nobody's trouble, but what it refers to is locked too
        return referred(action.rest)
    if action.verb == "attach":
        return [action.other]
    if action.verb == "lock" and re.search(r"\bin\s+(?:access\s+share|row\s|share\s+update)", action.rest):
        return []
    return [table for table in (action.table, action.other if action.verb != "rename-table" else "") if table]


def _add_column(action: Action) -> Iterator[Risk]:
    text = blanked(action.rest)
    table, column = action.table, action.column
    default = _DEFAULT.search(text)
    value = re.sub(r"^cast\s*\((.*)\sas\s[^']*\)$", r"\1", default[1].strip()) if default else ""
    fills = bool(re.match(r"(?:big|small)?serial\d?\b", text)) or bool(re.search(r"\bas\s+identity\b", text))
    stored = bool(re.search(r"\bgenerated\s+always\s+as\s*\(.*\)\s*stored\b", text))
    if fills or stored or (value and not _CONSTANT.fullmatch(value)):
        why = "an own value" if not stored else "a stored expression"
        yield Risk(
            "adding-field-with-default",
            "rewrite",
            table,
            f"{column} gets {why} in every row: the table is rewritten",
            "add the column without it, set the default, fill old rows in batches",
        )
    elif re.search(r"\bnot\s+null\b", text) and (not value or value.startswith("null")):
        yield Risk(
            "adding-required-field",
            "versions",
            table,
            f"{column} is NOT NULL without a default: it fails where rows are, and so do inserts of old versions",
            "add it nullable or with a default, fill it, then set NOT NULL",
        )
    if re.search(r"\bunique\b|\bprimary\s+key\b", text):
        yield _unique(action)
    if re.search(r"\bcheck\s*\(", text):
        yield _check(action)
    if action.other and value and value != "null":
        yield _foreign_key(action)
    if re.match(r"json\b", text):
        yield Risk(
            "json-column",
            "versions",
            table,
            f"{column} is json, which cannot be compared: SELECT DISTINCT fails",
            "use jsonb",
        )


def _unique(action: Action) -> Risk:
    return Risk(
        "disallowed-unique-constraint",
        "index",
        action.table,
        "an index is built while nobody can read or write the table",
        "create a unique index concurrently, then add the constraint USING INDEX",
    )


def _check(action: Action) -> Risk:
    return Risk(
        "constraint-missing-not-valid",
        "scan",
        action.table,
        "all rows are checked while nobody can read or write the table",
        "add it NOT VALID, and VALIDATE it in a later transaction",
    )


def _foreign_key(action: Action) -> Risk:
    both = f"this table and {action.other}" if action.other else "both tables"
    return Risk(
        "adding-foreign-key-constraint",
        "scan",
        action.table,
        f"all rows are checked while nobody can write to {both}",
        "add it NOT VALID, and VALIDATE it in a later transaction",
    )


def _add_constraint(action: Action) -> Iterator[Risk]:
    text = blanked(action.rest)
    if re.search(r"\bnot\s+valid\b|\bnot\s+enforced\b|\busing\s+index\s+(?!tablespace)", text):
        return
    if action.verb == "add-check":
        yield _check(action)
    elif action.verb == "add-foreign-key":
        yield _foreign_key(action)
    elif action.verb == "add-exclude":
        yield Risk(
            "adding-exclusion-constraint",
            "index",
            action.table,
            "an index is built while nobody can read or write the table",
            "do it when nobody works, or on a new table",
        )
    elif action.verb == "add-not-null":
        yield from _set_not_null(action)
    else:
        yield _unique(action)


def _set_not_null(action: Action) -> Iterator[Risk]:
    yield Risk(
        "adding-not-nullable-field",
        "scan",
        action.table,
        f"all rows are checked for nulls in {action.column} while nobody can read or write the table",
        f"add a CHECK ({action.column} IS NOT NULL) NOT VALID, validate it, then set NOT NULL",
    )


def _alter_type(action: Action) -> Iterator[Risk]:
    yield Risk(
        "changing-column-type",
        "rewrite",
        action.table,
        f"the type of {action.column} changes: the table may be rewritten while nobody can read or write it",
        "add a column of the new type, write both, fill in batches, then switch",
    )


def _create_index(action: Action) -> Iterator[Risk]:
    if not action.concurrently and not re.search(r"\bon\s+only\b", action.rest):
        yield Risk(
            "require-concurrent-index-creation",
            "index",
            action.table,
            "nobody can write while the index is built",
            "create it CONCURRENTLY, outside of a transaction",
        )


def _drop_index(action: Action) -> Iterator[Risk]:
    if not action.concurrently:
        yield Risk(
            "require-concurrent-index-deletion",
            "lock",
            "",
            "its table is locked, and all wait behind who uses it",
            "drop it CONCURRENTLY, or set lock_timeout",
        )


def _detach(action: Action) -> Iterator[Risk]:
    if not action.concurrently:
        yield Risk(
            "require-concurrent-partition-detach",
            "lock",
            action.table,
            "the parent is locked, and all wait behind",
            "detach it CONCURRENTLY, or set lock_timeout",
        )


def _row_security(action: Action) -> Iterator[Risk]:
    if action.rest.startswith("disable"):
        yield Risk(
            "disabling-row-security",
            "versions",
            action.table,
            "whoever may read or write the table sees all of its rows",
            "change its policies instead",
        )


def _heavy(action: Action) -> Iterator[Risk]:
    if action.concurrently:
        return
    rule = {"reindex": "require-concurrent-reindex", "refresh": "refresh-materialized-view"}
    what = "it is written anew while nobody can read or write it"
    instead = "do it CONCURRENTLY" if action.verb in rule else "do it when nobody works, or with pg_repack"
    yield Risk(rule.get(action.verb, "table-rewrite"), "rewrite", action.table, what, instead)


def _attach(action: Action) -> Iterator[Risk]:
    yield Risk(
        "attach-partition",
        "scan",
        action.other,
        "all its rows are checked while nobody can read or write it",
        "give it a validated CHECK of the partition's bounds first",
    )


def _validate(action: Action) -> Iterator[Risk]:
    # harmless alone: it only counts where something else is locked meanwhile
    yield Risk("", "scan", action.table, "", "")


def _domain(action: Action) -> Iterator[Risk]:
    name = action.column
    yield Risk(
        "ban-alter-domain-with-add-constraint",
        "scan",
        "",
        f"all rows of all tables that use {name} are checked",
        "add it NOT VALID, and VALIDATE it in a later transaction",
    )


def _gone(action: Action) -> Iterator[Risk]:
    rule, what = _BREAKING[action.verb]
    if action.verb == "truncate" and re.search(r"\bcascade\b", action.rest):
        rule = "ban-truncate-cascade"
    yield Risk(rule, "versions", action.table, what.format(action.column or action.table), _BREAKING_INSTEAD)


def _write(action: Action) -> Iterator[Risk]:
    if not is_bounded(action):
        yield Risk(
            "unbatched-write",
            "write",
            action.table,
            f"one {action.verb} may touch all rows and locks them to the end",
            "write in batches by key, each in its own transaction",
        )


def _do(action: Action) -> Iterator[Risk]:
    body = re.search(r"\$(\w*)\$(.*)\$\1\$", action.rest, re.DOTALL)
    for write, why in writes_in(body[2] if body else ""):
        instead = "write in batches by key, and commit each"
        yield Risk("unbatched-write", "write", write.table, f"{write.verb} in a block: {why}", instead)


_BREAKING_INSTEAD = "first release a version that does not need it any more, then say so in `ignore`"
_BREAKING = {
    "drop-column": ("ban-drop-column", "{} goes with its data, and versions that read it break"),
    "drop-table": ("ban-drop-table", "{} goes with its data, and versions that use it break"),
    "drop-schema": ("ban-drop-schema", "{} goes with all that is in it"),
    "drop-database": ("ban-drop-database", "{} goes with all that is in it"),
    "drop-default": ("ban-drop-default", "inserts that leave out {} get null, or fail where it is NOT NULL"),
    "truncate": ("ban-truncate", "all rows of {} go"),
    "rename-column": ("renaming-column", "versions that use {} by its old name break"),
    "rename-table": ("renaming-table", "versions that use {} by its old name break"),
    "rename-object": ("renaming-object", "versions that use {} by its old name break"),
    "set-schema": ("ban-set-schema", "versions that look for it in its old schema break"),
}
_FINDERS = {
    "add-column": _add_column,
    **dict.fromkeys(
        ("add-check", "add-foreign-key", "add-unique", "add-primary-key", "add-exclude", "add-not-null"),
        _add_constraint,
    ),
    "set-not-null": _set_not_null,
    "alter-type": _alter_type,
    "create-index": _create_index,
    "drop-index": _drop_index,
    "detach": _detach,
    **dict.fromkeys(("reindex", "refresh", "vacuum-full", "cluster", "rewrite", "set-expression"), _heavy),
    "attach": _attach,
    "row-security": _row_security,
    "validate": _validate,
    "domain-constraint": _domain,
    **dict.fromkeys(_BREAKING, _gone),
    **dict.fromkeys(("update", "delete", "merge"), _write),
    "do": _do,
}
