"""Whoever changes the record past its chain is found out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.model import Attestation, Status
from pytest_releasegate.store import open_store

if TYPE_CHECKING:
    from pytest_releasegate.store import Store

LEAVES = ["evidence", "snapshots", "attestations", "release_stakeholders", "audit_logs"]


@pytest.fixture
def filled(store: Store, sample: Any) -> Store:
    """A record with a row in most tables."""
    opened, run_id = sample.started(store)
    piece, bodies = sample.evidence(b"answer")
    for number in range(3):
        store.add_result(opened.id, run_id, sample.result(number, evidence=(piece,), kept={"x": number}), bodies)
    said = Attestation(gate="2", status=Status.PASSED, person="ann", role="dba", at=sample.at)
    store.add_claim(opened.id, said, b"signed")
    store.set_stakeholders(opened.id, {"dba": ("Ann", "ann@example.org")})
    line = {"user_id": "ann", "action_type": "a", "resource_type": "r", "action_description": "d", "severity": "s"}
    store.add_audit(at=sample.at, release_id=opened.id, **line)
    store.set_deployed(opened.id, sample.at, "ann")
    assert store.verify() == []
    return store


def tamper(store: Store, *statements: str) -> None:
    """Change the database as somebody with its password would."""
    with store._writer.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL search_path = releasegate")
        for statement in statements:
            connection.exec_driver_sql(statement)


def count(store: Store) -> int:
    """How many entries there are."""
    return store.head()[0]


def test_changed_result_is_named(filled: Store) -> None:
    tamper(filled, "UPDATE gate_results SET status = 'failed' WHERE id = 2")
    assert filled.verify() == ["gate_results row 2 was changed: status is 'failed', entry 4 wrote 'passed'"]


def test_changed_number_truth_and_null_are_named(filled: Store) -> None:
    tamper(
        filled, "UPDATE releases SET was_rolled_back = NOT was_rolled_back, rollback_at = 'then', deployed_at = NULL"
    )
    tamper(filled, "UPDATE gate_results SET seconds = 0.3, attempts = 2 WHERE id = 1")
    said = filled.verify()
    assert "releases row 1 was changed: was_rolled_back is 'True', entry 1 wrote 'False'" in said
    assert "releases row 1 was changed: rollback_at is 'then', entry 1 wrote null" in said
    assert any(
        each.startswith("releases row 1 was changed: deployed_at is null, entry 9 wrote '2026-01-05") for each in said
    )
    assert "gate_results row 1 was changed: seconds is '0.3', entry 3 wrote '0.25'" in said
    assert "gate_results row 1 was changed: attempts is '2', entry 3 wrote '1'" in said
    assert len(said) == 5


@pytest.mark.parametrize("table", LEAVES)
def test_removed_row_is_named(filled: Store, table: str) -> None:
    tamper(filled, f"DELETE FROM {table} WHERE id = 1")
    (said,) = filled.verify()
    assert said.startswith(f"{table} row 1 was removed: entry ")


@pytest.mark.parametrize(
    ("table", "columns", "values"),
    [
        (
            "audit_logs",
            "at, user_id, action_type, resource_type, action_description, severity",
            "'', '', '', '', '', ''",
        ),
        (
            "waivers",
            "release_id, identity, gate, reason, mitigation, person, role, at, git_commit, gate_digest",
            "1, 'i', '1.1', 'r', 'm', 'ann', 'dba', '', '', ''",
        ),
        ("step_events", "release_id, phase, step, event, at, reason", "1, 'deploy', 'before', 'closed', '', ''"),
    ],
)
def test_inserted_row_is_named(filled: Store, table: str, columns: str, values: str) -> None:
    tamper(filled, f"INSERT INTO {table} (id, {columns}) VALUES (77, {values})")
    assert filled.verify() == [f"{table} row 77 was inserted past the record: no entry wrote it"]


def test_changed_entry_is_named(filled: Store) -> None:
    with filled._writer.begin() as connection:
        from pytest_releasegate.store.schema import entries

        row = connection.execute(entries.select().where(entries.c.seq == 4)).one()
        body = bytes(row.body).replace(b'"passed"', b'"failed"')
        connection.execute(entries.update().where(entries.c.seq == 4).values(body=body))
    said = filled.verify()
    assert f"entry 4 (result, {row.at}) was changed: its digest does not fit its content" in said
    assert "gate_results row 2 was changed: status is 'passed', entry 4 wrote 'failed'" in said


def test_entry_forged_with_its_digest_breaks_the_chain(filled: Store) -> None:
    from pytest_releasegate.store.chain import digest_of
    from pytest_releasegate.store.schema import entries

    with filled._writer.begin() as connection:
        row = connection.execute(entries.select().where(entries.c.seq == 4)).one()
        body = bytes(row.body).replace(b'"passed"', b'"failed"')
        forged = {"body": body, "digest": digest_of(row.previous, body)}
        connection.execute(entries.update().where(entries.c.seq == 4).values(**forged))
    tamper(filled, "UPDATE gate_results SET status = 'failed' WHERE id = 2")
    assert filled.verify() == ["the chain breaks at entry 5: it does not follow from entry 4"]


def test_a_result_is_not_changed_by_a_later_entry_either(filled: Store) -> None:
    from pytest_releasegate.store.schema import gate_results

    with filled._writing() as writing:
        writing.update(gate_results, 2, {"status": "failed"})
        writing.entry("result", 2)
    seq = count(filled)
    assert filled.verify() == [f"entry {seq} changes gate_results row 2, which entry 4 wrote for good"]


def test_removed_entry_is_named(filled: Store) -> None:
    tamper(filled, "DELETE FROM entries WHERE seq IN (4, 5)")
    said = filled.verify()
    assert said[0] == "the chain breaks: entries 4 to 5 are missing before entry 6"
    assert "gate_results row 2 was inserted past the record: no entry wrote it" in said


def test_changed_columns_of_an_entry_are_named(filled: Store) -> None:
    tamper(filled, "UPDATE entries SET kind = 'other' WHERE seq = 2")
    assert filled.verify() == ["entry 2 was changed: its columns do not fit its content"]


def test_removed_tail_is_seen_while_its_rows_are_there(filled: Store) -> None:
    last = count(filled)
    tamper(filled, f"DELETE FROM entries WHERE seq = {last}")
    said = filled.verify()
    assert len(said) == 4
    assert said[0].startswith("releases row 1 was changed: deployed_at is '2026-01-05")


def test_tail_removed_with_its_rows_is_only_seen_by_a_head_kept_elsewhere(filled: Store, sample: Any) -> None:
    """A chain alone cannot show this; the digest of its head, kept in another place, does."""
    before = filled.head()
    filled.add_audit(
        at=sample.at,
        release_id=1,
        user_id="x",
        action_type="a",
        resource_type="r",
        action_description="d",
        severity="s",
    )
    kept_elsewhere = filled.head()
    tamper(filled, f"DELETE FROM entries WHERE seq = {kept_elsewhere[0]}", "DELETE FROM audit_logs WHERE user_id = 'x'")
    assert filled.verify() == []
    assert filled.head() == before != kept_elsewhere


def test_changed_evidence_is_named_and_erased_evidence_is_no_defect(filled: Store, sample: Any) -> None:
    piece, _ = sample.evidence(b"answer")
    tamper(filled, f"UPDATE blobs SET body = NULL WHERE sha256 = '{piece.sha256}'")
    assert filled.verify() == []
    assert filled.evidence_body(piece.sha256) is None
    other = "'\\x00'::bytea" if filled.url.startswith("postgresql") else "x'00'"
    tamper(filled, f"UPDATE blobs SET body = {other} WHERE sha256 = '{piece.sha256}'")
    assert filled.verify() == [f"evidence {piece.sha256[:12]} was changed: its bytes do not fit its digest"]


def test_removed_evidence_is_named_and_lost_evidence_is_no_defect(filled: Store, sample: Any) -> None:
    opened, run_id = sample.started(filled, version="9")
    piece, _ = sample.evidence(b"never kept")
    filled.add_result(opened.id, run_id, sample.result(evidence=(piece,)), {})
    assert (filled.verify(), filled.evidence_body(piece.sha256)) == ([], None)
    tamper(filled, f"DELETE FROM blobs WHERE sha256 = '{piece.sha256}'")
    assert filled.verify() == [
        f"evidence {piece.sha256[:12]} ({piece.name}) was removed with what is known of its bytes"
    ]


def test_every_entry_is_canonical_and_checkable_by_hand(filled: Store) -> None:
    from hashlib import sha256

    import rfc8785

    from pytest_releasegate.store.schema import entries

    with filled._engine.connect() as connection:
        rows = connection.execute(entries.select().order_by(entries.c.seq)).all()
    previous = "0" * 64
    for row in rows:
        assert sha256(f"{previous}\n".encode() + bytes(row.body)).hexdigest() == row.digest
        assert rfc8785.dumps(json.loads(bytes(row.body))) == bytes(row.body)
        previous = row.digest
    kinds = [
        "release opened",
        "run started",
        "result",
        "result",
        "result",
        "attestation",
        "stakeholders",
        "audit",
        "deployed",
    ]
    assert [row.kind for row in rows] == kinds


def test_empty_record_is_intact(url: str) -> None:
    with open_store(url) as store:
        assert store.verify() == []
        assert store.head() == (0, "0" * 64)
