"""Who sees what, straight in the database."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("clinician", {"clients", "notes", "appointments", "messages", "payments"}),
        ("admin", {"clients", "notes", "appointments", "messages", "payments"}),
        ("billing", {"payments"}),
        ("portal", {"clients", "appointments", "messages"}),
    ],
)
def test_each_role_sees_its_tables_and_no_others(demo: Any, kind: str, seen: set[str]) -> None:
    tables = ("clients", "notes", "appointments", "messages", "payments")
    assert {table for table in tables if demo.count_as(kind, f"select count(*) from {table}")} == seen


def test_a_clinician_sees_only_their_own_clients(demo: Any) -> None:
    mine = demo.one("select count(*) from clients where clinician_id = %s", demo.id_of("clinician"))
    assert 0 < mine < demo.one("select count(*) from clients")
    assert demo.count_as("clinician", "select count(*) from clients") == mine
    assert demo.count_as("clinician", "select count(*) from notes where author_id <> auth.uid()") == 0
    assert demo.count_as("clinician", "select count(*) from appointments where clinician_id <> auth.uid()") == 0


def test_a_client_sees_only_their_own_row(demo: Any) -> None:
    assert demo.count_as("portal", "select count(*) from clients") == 1
    assert demo.count_as("portal", "select count(distinct client_id) from messages") == 1


@pytest.mark.parametrize("table", ["clients", "notes", "payments", "messages", "staff", "audit_logs"])
def test_anon_sees_nothing(demo: Any, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        demo.count_as(None, f"select count(*) from {table}")


def test_a_clinician_cannot_change_another_clinicians_client(demo: Any) -> None:
    query = """with changed as (update clients set phone = 'x' where clinician_id <> auth.uid() returning 1)
               select count(*) from changed"""
    assert demo.count_as("clinician", query) == 0


def test_the_probe_reads_everything_and_writes_nothing(demo: Any) -> None:
    assert demo.one("select count(*) from notes", dsn=demo.info.probe_dsn) == demo.one("select count(*) from notes")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        demo.one("delete from notes returning 1", dsn=demo.info.probe_dsn)
