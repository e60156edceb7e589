"""Public buckets of Supabase Storage whose files a policy lets callers list."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_releasegate.sources.pglints.expressions import always_true, unwrapped
from pytest_releasegate.sources.pglints.lint import Issue
from pytest_releasegate.sources.pglints.server import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from pytest_releasegate.sources.pglints.policy import Policy

__all__ = ["listable"]

_ONLY_BUCKET = re.compile(r"""\(?bucket_id\)?(?:::text)? = (E?)'((?:[^']|'')*)'(?:::[\w ]+)?""")


def listable(connection: psycopg.Connection[Any], policies: Sequence[Policy]) -> Iterator[Issue]:
    """An issue for each public bucket, with the policies that list it."""
    rows = connection.execute("select id::text from storage.buckets where public order by id").fetchall()
    broad = [
        policy
        for policy in policies
        if (policy.schema, policy.table) == ("storage", "objects")
        and policy.permissive
        and policy.api_roles
        and "select" in policy.commands
    ]
    for (bucket,) in rows:
        found = [policy for policy in broad if _lists(policy, bucket)]
        if found:
            names = ", ".join(policy.name for policy in found)
            fix = "\n".join(policy.drop for policy in found)
            yield Issue(BUCKETS, f"bucket {bucket}", f"its files are listed by {names} on storage.objects", fix)


def _lists(policy: Policy, bucket: str) -> bool:
    if not policy.using or always_true(policy.using):
        return True
    match = _ONLY_BUCKET.fullmatch(unwrapped(policy.using))
    if not match:
        return False
    text = match[2].replace("''", "'")
    return bool((text.replace("\\\\", "\\") if match[1] else text) == bucket)
