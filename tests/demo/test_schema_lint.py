"""The demo's schema stands up to the lints, and an open table in it is found."""

from __future__ import annotations

from typing import Any

import psycopg

from pytest_releasegate.checks.schema_lint import SchemaLint
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look

KEPT = {
    "authenticated_security_definer_function_executable": {
        "public.client_*": "billing staff find a client by number only; the functions ask for the staff role themselves"
    }
}


def test_the_schema_of_the_demo_is_clean(demo: Any) -> None:
    environment = Environment(name="demo", databases={"app": demo.info.probe_dsn})
    seen = look(SchemaLint(api_schemas=["public"], ignore=KEPT, least=13), environment)
    told = [str(finding) for finding in seen.findings]
    assert seen.status is Status.PASSED, (seen.message, told)
    assert sum("; ignored: billing staff" in line for line in told) == 2


def test_a_table_that_a_migration_opens_is_found(demo: Any) -> None:
    environment = Environment(name="demo", databases={"app": demo.info.probe_dsn})
    with psycopg.connect(demo.info.super_dsn, autocommit=True) as connection:
        connection.execute("create table public.exports (id int primary key); grant select on public.exports to anon")
        try:
            seen = look(SchemaLint(api_schemas=["public"], ignore=KEPT), environment)
        finally:
            connection.execute("drop table public.exports")
    assert seen.status is Status.FAILED
    assert str(seen.findings[0]).startswith("rls_disabled_in_public: public.exports: ")
