"""Lints of row security policies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_releasegate.sources.pglints.expressions import (
    alternatives,
    always_true,
    bare_calls,
    is_null_for_nobody,
    plain,
    strings,
    wrapped,
)
from pytest_releasegate.sources.pglints.lint import Level, Lint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_releasegate.sources.pglints.policy import Policy

__all__ = ["ANONYMOUS", "LINTS", "MULTIPLE", "admits_anonymous", "multiple"]

_METADATA = re.compile(r"\b(?:raw_)?user_meta_?data\b")
_TOKEN = re.compile(r"auth\.jwt\(\)|auth\.users\b|request\.jwt\.claim")
_ANY_USER = re.compile(
    r"auth\.(?:uid|jwt|role|email)\(\) IS NOT NULL|auth\.role\(\) = '(?:authenticated|anon)'(?:::text)?"
    r"|auth\.uid\(\) = auth\.uid\(\)"
    r"|\(?auth\.jwt\(\) ->> 'role'(?:::text)?\)? = 'authenticated'(?:::text)?"
)
_IDENTITY = re.compile(r"auth\.\w+\(\)|current_setting\(")
_HERE = "<condition on the row>"
_PLATFORM = re.compile(r"pg_|supabase\w*admin$")
"""Roles of the server and of the platform, which no application asks as."""


def _initplan(policy: Policy) -> Iterator[tuple[str, str]]:
    if not policy.enabled:
        return
    parts = [("using", policy.using), ("with check", policy.check)]
    bare = [(word, text, spans) for word, text in parts if (spans := bare_calls(text, policy.table_sql))]
    if bare:
        names = dict.fromkeys(
            text[start:end].partition("(")[0] + "()" for _, text, spans in bare for start, end in spans
        )
        changed = [f"{word} ({wrapped(text, policy.table_sql)})" for word, text, _ in bare]
        yield f"calls {', '.join(names)} for each row", f"{policy.alter} {' '.join(changed)};"


def _always_true(policy: Policy) -> Iterator[tuple[str, str]]:
    if not (policy.enabled and policy.permissive and policy.api_roles and policy.writes):
        return
    using = policy.code != "a" and (not policy.using or always_true(policy.using, policy.never_null))
    check = always_true(policy.check, policy.never_null) if policy.check else policy.code == "a"
    if using or check:
        which = " and ".join(word for word, true in (("USING", using), ("WITH CHECK", check)) if true)
        what = f"{which} of {policy.command} holds for every row, for {policy.applied_to}"
        yield what, _narrow(policy, using=using, check=check or policy.code == "a")


def _narrow(policy: Policy, *, using: bool, check: bool) -> str:
    """Take the policy away; a condition that a person must think of is only shown."""
    parts = " ".join(f"{word} ({_HERE})" for word, wanted in (("using", using), ("with check", check)) if wanted)
    return f"{policy.drop} -- or: {policy.alter} {parts};"


def _reads_all(policy: Policy) -> Iterator[tuple[str, str]]:
    reads = policy.code == "r" and (not policy.using or always_true(policy.using, policy.never_null))
    if reads and policy.enabled and policy.permissive and policy.api_roles:
        yield f"every row can be read by {policy.applied_to}", _narrow(policy, using=True, check=False)


def _any_user(policy: Policy) -> Iterator[tuple[str, str]]:
    """Writes that ask only whether somebody is signed in, not whose the row is."""
    if not (policy.enabled and policy.permissive and policy.api_roles) or policy.code not in ("w", "d", "*"):
        return
    if any(_ANY_USER.fullmatch(plain(part)) for part in alternatives(policy.using)):
        what = f"{policy.command} asks only that somebody is signed in: {plain(policy.using)}"
        yield what, _narrow(policy, using=True, check=bool(policy.check))


def _null_auth(policy: Policy) -> Iterator[tuple[str, str]]:
    part = is_null_for_nobody(policy.using) if policy.code in ("r", "*") else ""
    if part and policy.enabled and policy.permissive and policy.api_roles:
        what = f"'{part}' is one of its alternatives, so a caller without a login reads every row"
        yield what, _narrow(policy, using=True, check=False)


def _user_metadata(policy: Policy) -> Iterator[tuple[str, str]]:
    for word, text in (("USING", policy.using), ("WITH CHECK", policy.check)):
        named = any(_METADATA.search(each) for each in strings(text))
        column = "auth.users" in text and re.search(r"\braw_user_meta_data\b", text)
        if (named and _TOKEN.search(text)) or column:
            yield f"its {word} asks user_metadata", policy.drop + " -- or ask app_metadata, which users cannot change"


def _for_public(policy: Policy) -> Iterator[tuple[str, str]]:
    texts = (policy.using, policy.check)
    if policy.enabled and policy.public and policy.permissive and any(_IDENTITY.search(text) for text in texts):
        service = any(each.strip("'") == "service_role" for text in texts for each in strings(text))
        role = "service_role" if service else "authenticated"
        yield "asks who is signed in, but names no role (TO PUBLIC)", f"{policy.alter} to {role};"


LINTS = (
    Lint(
        id="auth_rls_initplan",
        level=Level.WARN,
        title="a policy asks who is signed in once for a query: (select auth.uid())",
        why="A bare call is made again for every row, which makes queries on large tables many times slower.",
        fix="alter policy NAME on SCHEMA.TABLE using ((select auth.uid()) = user_id);",
        policies=_initplan,
    ),
    Lint(
        id="rls_policy_always_true",
        level=Level.WARN,
        title="no policy lets callers of an API write every row",
        why="A condition that always holds is as good as no row-level security for that command.",
        fix="drop policy NAME on SCHEMA.TABLE;",
        api=True,
        policies=_always_true,
        aliases=("permissive_rls_policy",),
    ),
    Lint(
        id="rls_policy_any_user",
        level=Level.WARN,
        title="a policy for writing asks whose the row is, not only whether somebody is signed in",
        why="Every signed-in user changes or deletes the rows of all others.",
        fix="alter policy NAME on SCHEMA.TABLE using ((select auth.uid()) = user_id);",
        api=True,
        policies=_any_user,
    ),
    Lint(
        id="rls_policy_null_auth_disjunct",
        level=Level.WARN,
        title="no policy for reading holds merely because nobody is signed in",
        why="For a caller without a login the function is null, and the policy shows every row.",
        fix="alter policy NAME on SCHEMA.TABLE using ((select auth.uid()) = user_id);",
        api=True,
        policies=_null_auth,
    ),
    Lint(
        id="rls_references_user_metadata",
        level=Level.ERROR,
        title="no policy asks what users write about themselves (user_metadata)",
        why="Users change their own user_metadata, and so give themselves whatever the policy asks for.",
        fix="drop policy NAME on SCHEMA.TABLE; -- or ask app_metadata",
        policies=_user_metadata,
    ),
    Lint(
        id="rls_policy_reads_all",
        level=Level.INFO,
        title="callers of an API read all rows of a table only where that is meant",
        why="USING (true) shows every row to every holder of the role; that may be meant, as for a list of countries.",
        fix="alter policy NAME on SCHEMA.TABLE using (CONDITION);",
        api=True,
        policies=_reads_all,
    ),
    Lint(
        id="rls_policy_for_public",
        level=Level.INFO,
        title="a policy that asks who is signed in names the roles that can be",
        why="Without TO it applies to PUBLIC: anon and every other role is asked too, and a null that it did not think "
        "of may let them in.",
        fix="alter policy NAME on SCHEMA.TABLE to authenticated;",
        policies=_for_public,
    ),
    Lint(
        id="policy_exists_rls_disabled",
        level=Level.ERROR,
        title="row-level security is on where policies exist",
        why="The policies are not asked: whoever holds a grant reads and writes every row.",
        fix="alter table SCHEMA.TABLE enable row level security;",
        sql="""
            select r.label, 'off, though it has ' || case count(*) when 1 then 'policy ' else 'policies ' end
                   || string_agg(p.polname, ', ' order by p.polname),
                   format('alter table %s enable row level security;', r.sql), true
            from relation r join pg_catalog.pg_policy p on p.polrelid = r.oid
            where not r.rls group by r.label, r.sql""",
    ),
    Lint(
        id="rls_enabled_no_policy",
        level=Level.INFO,
        title="a table with row-level security has policies",
        why="Without any, nobody but its owner and roles with BYPASSRLS sees a row; that may be meant.",
        fix="create policy NAME on SCHEMA.TABLE for select to ROLE using (CONDITION);",
        sql="""
            select r.label, 'on, and no policy',
                   format('-- create policy ... on %s for select to ... using (...);', r.sql), true
            from relation r where r.kind in ('r', 'p') and r.rls
              and not exists (select from pg_catalog.pg_policy p where p.polrelid = r.oid)""",
    ),
    Lint(
        id="rls_not_forced",
        level=Level.WARN,
        title="row-level security is forced where an application may log in as the owner",
        why="Policies do not bind the owner: an application that connects as it sees and changes every row.",
        fix="alter table SCHEMA.TABLE force row level security;",
        sql="""
            select r.label, 'not forced, and its owner ' || o.rolname || ' can log in',
                   format('alter table %s force row level security;', r.sql), true
            from relation r join pg_catalog.pg_roles o on o.oid = r.owner
            where r.kind in ('r', 'p') and r.rls and not r.forced
              and o.rolcanlogin and not o.rolsuper and not o.rolbypassrls
              and exists (select from pg_catalog.pg_policy p where p.polrelid = r.oid)
              -- where an API takes on roles for its callers, the owner matters only if it may take them on
              and (r.readers || r.writers = '{}'
                   or exists (select from api_role a where pg_has_role(o.oid, a.oid, 'MEMBER')))""",
    ),
)

MULTIPLE = Lint(
    id="multiple_permissive_policies",
    level=Level.WARN,
    title="at most one permissive policy for a role and a command",
    why="Every one of them is asked for every row, and what they let through adds up.",
    fix="drop policy NAME on SCHEMA.TABLE; -- once its condition stands in the other, joined by OR",
)

ANONYMOUS = Lint(
    id="auth_allow_anonymous_sign_ins",
    level=Level.INFO,
    title="where users without an account exist, policies for signed-in users ask is_anonymous",
    why="Anonymous sign-ins hold the role authenticated, so policies meant for people with accounts let them in.",
    fix="create policy NAME on SCHEMA.TABLE as restrictive to authenticated\n"
    "    using ((select (auth.jwt() ->> 'is_anonymous')::boolean) is false);",
    api=True,
)


def multiple(policies: Sequence[Policy]) -> Iterator[tuple[str, str, str]]:
    """Object, what and fix for each table and command with several permissive policies for one role."""
    tables: dict[str, list[Policy]] = {}
    for policy in policies:
        if policy.own and policy.enabled and policy.permissive:
            tables.setdefault(policy.label, []).append(policy)
    for label, found in tables.items():
        for command in ("select", "insert", "update", "delete"):
            yield from _crowded(label, command, [policy for policy in found if command in policy.commands])


def _crowded(label: str, command: str, policies: Sequence[Policy]) -> Iterator[tuple[str, str, str]]:
    bypassing = {role for policy in policies for role in policy.bypassing}
    named = {role for policy in policies for role in (*policy.named, *policy.api_roles)} - bypassing
    roles = {role for role in named if not _PLATFORM.match(role)}
    crowds: dict[tuple[str, ...], list[str]] = {}
    for role in (*sorted(roles), "PUBLIC"):
        names = tuple(p.name for p in policies if p.public or role in p.named or role in p.api_roles)
        if len(names) > 1:
            crowds.setdefault(names, []).append(role)
    for names, holders in crowds.items():
        drops = [policy.drop for policy in policies if policy.name in names[1:]]
        what = f"{' and '.join(names)} for {', '.join(holders)}"
        comment = f"/* once their conditions stand in {names[0]}, joined by OR: */"
        yield f"{label} ({command})", what, "\n".join([comment, *drops])


def admits_anonymous(policies: Sequence[Policy]) -> Iterator[tuple[str, str, str]]:
    """Object, what and fix for each table whose policies let signed-in users in without asking is_anonymous."""
    tables: dict[str, list[Policy]] = {}
    for policy in policies:
        if policy.own and policy.enabled and "authenticated" in policy.api_roles:
            tables.setdefault(policy.label, []).append(policy)
    for label, found in tables.items():
        if not any("is_anonymous" in policy.using + policy.check for policy in found):
            fix = (
                f"create policy no_anonymous_users on {found[0].sql} as restrictive to authenticated\n"
                "    using ((select (auth.jwt() ->> 'is_anonymous')::boolean) is false);"
            )
            yield label, f"{', '.join(policy.name for policy in found)} let anonymous sign-ins in", fix
