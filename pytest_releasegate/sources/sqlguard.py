"""What a gate's own SQL may not do: only a query is let through, without calls that READ ONLY does not stop."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlglot import exp

__all__ = ["DENIED", "require_harmless"]

DENIED: tuple[tuple[str, str], ...] = (
    (r"dblink\w*", "it opens another session, which may write"),
    (r"lo_\w+|loread|lowrite", "it works on large objects, also those in the server's files"),
    (r"pg_(terminate|cancel)_backend", "it ends the work of other sessions"),
    (
        r"pg_(switch_wal|create_restore_point|promote|wal_replay_\w+|rotate_logfile\w*|reload_conf)",
        "it acts on the server",
    ),
    (r"pg_(backup_(start|stop)|(start|stop)_backup)", "it acts on the server's backups"),
    (
        r"pg_(\w*replication_slot\w*|replication_origin_\w+|logical_\w+|sync_replication_slots)",
        "it acts on replication",
    ),
    (r"pg_(try_)?advisory_\w+", "it takes or frees locks that others wait for"),
    (r"pg_notify", "it sends a message"),
    (r"pg_stat_(\w+_)?reset\w*|pg_stat_force_next_flush|pg_(clear|restore)_\w+_stats", "it throws statistics away"),
    (r"pg_(read_\w*file|ls_\w*dir\w*|stat_file|file_\w+|log_\w+)", "it reads or writes the server's files"),
    (
        r"pg_(current_xact_id|import_system_collations|prewarm\w*|extension_config_dump)|txid_current",
        "it leaves traces in the server",
    ),
    (r"brin_\w+|gin_clean_pending_list", "it changes an index"),
    (r"bt_index_parent_check", "it keeps others from writing to the table"),
    (r"pg_truncate_visibility_map|heap_force_\w+|pg_buffercache_evict\w*", "it changes what the server holds"),
    (r"nextval|setval", "it moves a sequence"),
    (r"set_config", "it changes the settings that keep the look safe"),
    (r"(query|cursor)_to_xml\w*|ts_stat|ts_rewrite|connectby|crosstab\w*|xpath_table", "it runs SQL out of a text"),
    (r"run_command_on_\w+|oracle_execute", "it runs SQL on other servers"),
    (
        r"(utl_file|dbms_\w+|cron|net|ai|aws_\w+|azure_\w+|google_ml|pgml|pgmq|pgagent)\.\w+",
        "it reaches outside of the database",
    ),
    (r"http(_(get|post|put|patch|delete|head|set_curlopt))?", "it calls another system"),
    (r"pg_background_\w+|aws_\w+", "it reaches outside of the database"),
)
"""Functions by pattern, in lower case, and why; a pattern with a dot means the functions of a schema."""


_ESCAPED = re.compile(r"(?<![\w$])[uU]&\"")
"""A quoted name with escapes, which the parser takes for something else than the server does."""


def require_harmless(text: str, what: str = "the query", *, writes: bool = False) -> None:
    """Raise `ValueError` unless the text is one query of which nothing is known that a rollback would not undo.

    With `writes` it may be an INSERT, UPDATE, DELETE or MERGE: for probes, which are always rolled back.
    """
    tree = _parsed(text, what)
    if reason := next(_objections(tree, writes=writes), ""):
        raise ValueError(f"{what}: {reason}")


def _parsed(text: str, what: str) -> exp.Expr:
    import logging

    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    if _ESCAPED.search(text):
        raise ValueError(f'{what}: expected names as they are, got one with escapes (U&"...")')
    logger = logging.getLogger("sqlglot")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        parts = sqlglot.parse(text, dialect="postgres")
        found = [tree for tree in parts if tree is not None and not isinstance(tree, exp.Semicolon)]
    except (SqlglotError, RecursionError) as error:
        raise ValueError(f"{what}: expected SQL that can be read before it runs; {_where(error)}") from None
    finally:
        logger.setLevel(level)
    if len(found) != 1:
        raise ValueError(f"{what}: expected one statement, got {len(found) or 'none'}")
    return found[0]


def _where(error: Exception) -> str:
    """Place and cause in the parser's own terms, without the SQL that it repeats."""
    told = getattr(error, "errors", None) or [{}]
    first = told[0]
    if not first.get("line"):
        return "the parser gave up"
    return f"line {first['line']}, column {first['col']}: {str(first['description']).lower().rstrip('.')}"


def _objections(tree: exp.Expr, *, writes: bool) -> Iterator[str]:
    from sqlglot import exp

    wanted = (exp.Query, exp.Values, exp.Table)
    allowed = (*wanted, *((exp.Insert, exp.Update, exp.Delete, exp.Merge) if writes else ()))
    if not isinstance(tree, allowed):
        yield f"expected a query (SELECT, VALUES, WITH, TABLE){' or a write' * writes}, got {_word(tree)}"
    for node in tree.walk():
        if isinstance(node, exp.DML | exp.DDL | exp.Command | exp.Copy) and not isinstance(node, allowed):
            yield f"expected a query, got {_word(node)} within it"
        if isinstance(node, exp.Into):
            yield "expected a query, got SELECT INTO, which makes a table"
        if isinstance(node, exp.Lock):
            yield "expected a query, got FOR UPDATE or FOR SHARE, which lock rows"
        if isinstance(node, exp.Func):
            yield from _objections_to_names(_names(node))
        # PostgreSQL calls a function of one argument also where it stands behind a dot, as a column does
        if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
            yield from _objections_to_names([node.expression.name.lower()])


def _objections_to_names(names: list[str]) -> Iterator[str]:
    for pattern, why in DENIED:
        if name := next((name for name in names if re.fullmatch(pattern, name)), ""):
            yield f"calls {name}, which a read-only transaction does not stop: {why}"


def _names(call: exp.Func) -> list[str]:
    """Each name that the call may go by, in lower case, alone and after its schema."""
    from sqlglot import exp

    plain = [call.name] if isinstance(call, exp.Anonymous) else call.sql_names()
    schema = call.parent.this.name if isinstance(call.parent, exp.Dot) and call.parent.expression is call else ""
    names = [name.lower() for name in plain if name]
    return [f"{schema.lower()}.{name}" for name in names if schema] + names


def _word(node: exp.Expr) -> str:
    from sqlglot import exp

    return (node.name if isinstance(node, exp.Command) else node.key).upper()
