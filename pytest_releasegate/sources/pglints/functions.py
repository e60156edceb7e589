"""Lints of functions: whose rights they have, where they look for names, who may call them."""

# ruff: noqa: S608  the parts are constants of this package
from __future__ import annotations

from pytest_releasegate.sources.pglints.lint import Level, Lint

__all__ = ["LINTS"]

_NO_PATH = """not exists (select from unnest(f.config) c where c ^@ 'search_path=')"""


def _callable(id: str, which: str, who: str) -> Lint:  # noqa: A002  a lint's own word for it
    return Lint(
        id=id,
        level=Level.WARN,
        title=f"no SECURITY DEFINER function that {who} may call",
        why="The function has its owner's rights, and so reaches past row-level security for whoever calls it.",
        fix="revoke execute on function SCHEMA.FUNCTION(ARGUMENTS) from public, ROLE;",
        api=True,
        sql=f"""
            select f.label, array_to_string(x.roles, ', ') || ' may call it as ' || pg_get_userbyid(f.owner),
                   format('revoke execute on %s from public, %s;', f.sql,
                          (select string_agg(quote_ident(n), ', ') from unnest(x.roles) n)), true
            from function f, lateral (select array(select n from unnest(f.callers) n where n {which} 'anon')) x (roles)
            where f.definer and f.api and x.roles <> '{{}}' and not f.for_triggers""",
    )


LINTS = (
    Lint(
        id="function_search_path_mutable",
        level=Level.WARN,
        title="every function says where names are looked for (SET search_path)",
        why="Its caller's search_path decides what its names mean; with SECURITY DEFINER that is a way to its owner's "
        "rights.",
        fix="alter function SCHEMA.FUNCTION(ARGUMENTS) set search_path = '';",
        sql=f"""
            select f.label, case when f.definer then 'SECURITY DEFINER without' else 'without' end || ' search_path',
                   format('alter %s set search_path = %L; -- once its body names schemas', f.sql, ''), true
            from function f
            join pg_catalog.pg_language l on l.oid = f.language
            where f.kind in ('f', 'p') and not f.bound and l.lanname not in ('c', 'internal') and {_NO_PATH}""",
    ),
    Lint(
        id="security_definer_search_path_writable",
        level=Level.WARN,
        title="no schema in the search_path of a SECURITY DEFINER function where others may create",
        why="Whoever may create there puts a function of the same name before the one that is meant, and it runs with "
        "the owner's rights.",
        fix="alter function SCHEMA.FUNCTION(ARGUMENTS) set search_path = '';",
        sql="""
            select f.label, string_agg(distinct coalesce(g.rolname, 'PUBLIC') || ' may create in ' || s.name, ', '),
                   format('alter %s set search_path = %L; -- once its body names schemas', f.sql, ''), true
            from function f
            cross join unnest(f.config) c
            cross join lateral unnest(string_to_array(substr(c, length('search_path=') + 1), ',')) w (word)
            join space s on s.name = btrim(w.word, ' "')
            cross join lateral aclexplode(coalesce(s.acl, acldefault('n', s.owner))) x
            left join pg_catalog.pg_roles g on g.oid = x.grantee
            where f.definer and c ^@ 'search_path=' and x.privilege_type = 'CREATE'
              and x.grantee not in (s.owner, f.owner) and not coalesce(g.rolsuper, false)
            group by f.label, f.sql""",
    ),
    _callable("anon_security_definer_function_executable", "=", "callers without a login (anon)"),
    _callable("authenticated_security_definer_function_executable", "<>", "signed-in callers"),
    Lint(
        id="function_executable_by_public",
        level=Level.INFO,
        title="functions of an API are granted to roles, not to everybody",
        why="PostgreSQL lets everybody call a new function; in a schema of an API that makes it an endpoint.",
        fix="revoke execute on function SCHEMA.FUNCTION(ARGUMENTS) from public;",
        api=True,
        sql="""
            select f.label, 'PUBLIC may call it', format('revoke execute on %s from public;', f.sql), true
            from function f
            where f.api and f.kind in ('f', 'p') and not f.definer and not f.for_triggers
              and exists (select from aclexplode(coalesce(f.acl, acldefault('f', f.owner))) x
                          where x.grantee = 0 and x.privilege_type = 'EXECUTE')""",
    ),
    Lint(
        id="schema_open_to_create",
        level=Level.WARN,
        title="no schema where everybody may create objects",
        why="Whoever may create in a schema of the search_path puts their own functions in the way of others.",
        fix="revoke create on schema SCHEMA from public;",
        sql="""
            select s.name, 'PUBLIC may create in it', format('revoke create on schema %s from public;', s.sql), true
            from space s
            where exists (select from aclexplode(s.acl) x where x.grantee = 0 and x.privilege_type = 'CREATE')""",
    ),
)
