"""The first schema of the record."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Integer, LargeBinary, Text, UniqueConstraint

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    _releases()
    _runs()
    _results()
    _claims()
    _others()


def downgrade() -> None:
    """Refuse: a record is never thrown away by a migration."""
    raise NotImplementedError("the record has no older schema")


def _table(name: str, *columns: Column[object] | UniqueConstraint) -> None:
    row_id: Column[int] = Column("id", Integer, primary_key=True, autoincrement=True)
    op.create_table(name, row_id, *columns, sqlite_autoincrement=True)


def _texts(*names: str) -> tuple[Column[object], ...]:
    return tuple(Column(name, Text, nullable=False) for name in names)


def _maybe(*names: str) -> tuple[Column[object], ...]:
    return tuple(Column(name, Text) for name in names)


def _refers(name: str, target: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, Integer, ForeignKey(target), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, Integer, nullable=nullable)


def _index(table: str, column: str) -> None:
    op.create_index(f"ix_{table}_{column}", table, [column])


def _releases() -> None:
    _table(
        "releases",
        *_texts("product", "version", "environment"),
        _number("attempt"),
        *_texts("git_commit", "git_branch", "opened_at"),
        *_maybe("deployed_at", "window_start", "window_end"),
        *_texts("facts", "plan", "plan_digest", "review_status"),
        *_maybe("review_scheduled_at"),
        Column("was_rolled_back", Boolean, nullable=False),
        *_maybe("rollback_at", "rollback_reason"),
        UniqueConstraint("product", "version", "environment", "attempt", name="one_row_an_attempt"),
    )


def _runs() -> None:
    _table(
        "runs",
        _refers("release_id", "releases.id"),
        *_texts("started_at"),
        *_maybe("ended_at"),
        *_texts("expression", "scope", "host"),
        _number("pid"),
        *_texts("decision"),
        _number("exit_code", nullable=True),
        *_texts("tool_version"),
    )
    _index("runs", "release_id")


def _results() -> None:
    _table(
        "gate_results",
        _refers("release_id", "releases.id"),
        _refers("run_id", "runs.id"),
        Column("identity", Text, nullable=False, unique=True),
        *_texts("gate", "case_name", "target", "status", "started_at"),
        Column("seconds", Float),
        _number("attempts"),
        *_texts("message", "findings", "gate_digest", "code"),
    )
    _index("gate_results", "release_id")
    _index("gate_results", "run_id")
    _table(
        "evidence",
        _refers("result_id", "gate_results.id"),
        *_texts("name", "media_type", "sha256"),
        Column("size", BigInteger, nullable=False),
    )
    _index("evidence", "result_id")
    _table(
        "snapshots",
        _refers("release_id", "releases.id"),
        _refers("result_id", "gate_results.id"),
        *_texts("name", "value", "gate", "at"),
    )
    _index("snapshots", "release_id")
    _index("snapshots", "result_id")


def _claim(name: str, *columns: Column[object]) -> None:
    identity: Column[object] = Column("identity", Text, nullable=False, unique=True)
    _table(name, _refers("release_id", "releases.id"), identity, *columns, *_maybe("body_sha256"))
    _index(name, "release_id")


def _claims() -> None:
    _claim("attestations", *_texts("gate", "status", "person", "role", "at", "note", "evidence", "gate_digest"))
    _claim(
        "waivers",
        *_texts("gate", "reason", "mitigation", "approver", "role", "at"),
        *_maybe("expires_at"),
        *_texts("git_commit", "gate_digest"),
    )
    _claim("sign_offs", *_texts("phase", "role", "person", "at", "decision", "plan_digest", "policy_digest", "subject"))


def _others() -> None:
    _table(
        "release_stakeholders",
        _refers("release_id", "releases.id"),
        *_texts("role", "name", "email"),
        UniqueConstraint("release_id", "role", name="one_person_a_role"),
    )
    _index("release_stakeholders", "release_id")
    _table(
        "step_events",
        _refers("release_id", "releases.id"),
        _refers("run_id", "runs.id", nullable=True),
        *_texts("phase", "step", "event", "at", "reason"),
    )
    _index("step_events", "release_id")
    _table(
        "audit_logs",
        _refers("release_id", "releases.id", nullable=True),
        *_texts("at", "user_id", "action_type", "resource_type", "action_description", "severity"),
    )
    _index("audit_logs", "release_id")
    op.create_table(
        "blobs",
        Column("sha256", Text, primary_key=True),
        Column("size", BigInteger, nullable=False),
        Column("body", LargeBinary),
    )
    op.create_table(
        "entries",
        Column("seq", Integer, primary_key=True, autoincrement=False),
        *_texts("at", "kind"),
        _number("row_id"),
        Column("body", LargeBinary, nullable=False),
        *_texts("previous", "digest"),
    )
