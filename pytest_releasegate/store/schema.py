"""The tables of the record; instants are UTC ISO 8601 texts; facts, plans, scopes, findings, kept values are JSON."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = [
    "CHAINED",
    "CHANGING",
    "HEAD",
    "REVISIONS",
    "SCHEMA",
    "VERSION_TABLE",
    "attestations",
    "audit_logs",
    "blobs",
    "entries",
    "evidence",
    "gate_results",
    "metadata",
    "release_stakeholders",
    "releases",
    "revocations",
    "runs",
    "sign_offs",
    "snapshots",
    "starts",
    "step_events",
    "waivers",
]

SCHEMA = "releasegate"
"""Where the tables stand in PostgreSQL."""
VERSION_TABLE = "schema_version"
REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""The migrations this version knows, oldest first; a test compares them with the folder."""
HEAD = REVISIONS[-1]

metadata = MetaData()


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _instant(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _maybe(name: str) -> Column[str | None]:
    return Column(name, Text)


def _release(*, nullable: bool = False) -> Column[int]:
    return Column("release_id", Integer, ForeignKey("releases.id"), nullable=nullable, index=True)


releases = Table(
    "releases",
    metadata,
    _id(),
    _text("product"),
    _text("version"),
    _text("environment"),
    Column("attempt", Integer, nullable=False),
    _text("git_commit"),
    _text("git_branch"),
    _instant("opened_at"),
    _maybe("deployed_at"),
    _maybe("window_start"),
    _maybe("window_end"),
    _text("facts"),
    _text("plan"),
    _text("plan_digest"),
    _text("review_status"),
    _maybe("review_scheduled_at"),
    Column("was_rolled_back", Boolean, nullable=False),
    _maybe("rollback_at"),
    _maybe("rollback_reason"),
    _maybe("profile"),
    _maybe("authors"),
    _maybe("derived"),
    _maybe("deployed_by"),
    UniqueConstraint("product", "version", "environment", "attempt", name="one_row_an_attempt"),
    sqlite_autoincrement=True,
)

runs = Table(
    "runs",
    metadata,
    _id(),
    _release(),
    _instant("started_at"),
    _maybe("ended_at"),
    _text("expression"),
    _text("scope"),
    _text("host"),
    Column("pid", Integer, nullable=False),
    _text("decision"),
    Column("exit_code", Integer),
    _text("tool_version"),
    sqlite_autoincrement=True,
)

gate_results = Table(
    "gate_results",
    metadata,
    _id(),
    _release(),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False, index=True),
    Column("identity", Text, nullable=False, unique=True),
    _text("gate"),
    _text("case_name"),
    _text("target"),
    _text("status"),
    _instant("started_at"),
    Column("seconds", Float),
    Column("attempts", Integer, nullable=False),
    _text("message"),
    _text("findings"),
    _text("gate_digest"),
    _text("code"),
    _maybe("origin"),
    sqlite_autoincrement=True,
)

evidence = Table(
    "evidence",
    metadata,
    _id(),
    Column("result_id", Integer, ForeignKey("gate_results.id"), nullable=False, index=True),
    _text("name"),
    _text("media_type"),
    _text("sha256"),
    Column("size", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

blobs = Table(
    "blobs",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("body", LargeBinary),
)

snapshots = Table(
    "snapshots",
    metadata,
    _id(),
    _release(),
    Column("result_id", Integer, ForeignKey("gate_results.id"), nullable=False, index=True),
    _text("name"),
    _text("value"),
    _text("gate"),
    _instant("at"),
    sqlite_autoincrement=True,
)

attestations = Table(
    "attestations",
    metadata,
    _id(),
    _release(),
    Column("identity", Text, nullable=False, unique=True),
    _text("gate"),
    _text("status"),
    _text("person"),
    _text("role"),
    _instant("at"),
    _text("note"),
    _text("evidence"),
    _text("gate_digest"),
    _maybe("body_sha256"),
    _maybe("expires_at"),
    _maybe("file_sha256"),
    sqlite_autoincrement=True,
)

waivers = Table(
    "waivers",
    metadata,
    _id(),
    _release(),
    Column("identity", Text, nullable=False, unique=True),
    _text("gate"),
    _text("reason"),
    _text("mitigation"),
    _text("person"),
    _text("role"),
    _instant("at"),
    _maybe("expires_at"),
    _text("git_commit"),
    _text("gate_digest"),
    _maybe("body_sha256"),
    _maybe("risk"),
    _maybe("file_sha256"),
    sqlite_autoincrement=True,
)

sign_offs = Table(
    "sign_offs",
    metadata,
    _id(),
    _release(),
    Column("identity", Text, nullable=False, unique=True),
    _text("phase"),
    _text("role"),
    _text("person"),
    _instant("at"),
    _text("decision"),
    _text("plan_digest"),
    _text("policy_digest"),
    _text("subject"),
    _maybe("body_sha256"),
    _maybe("file_sha256"),
    sqlite_autoincrement=True,
)

revocations = Table(
    "revocations",
    metadata,
    _id(),
    _release(),
    Column("identity", Text, nullable=False, unique=True),
    _text("claim"),
    _text("reason"),
    _text("person"),
    _text("role"),
    _instant("at"),
    _maybe("file_sha256"),
    sqlite_autoincrement=True,
)

release_stakeholders = Table(
    "release_stakeholders",
    metadata,
    _id(),
    _release(),
    _text("role"),
    _text("name"),
    _text("email"),
    UniqueConstraint("release_id", "role", name="one_person_a_role"),
    sqlite_autoincrement=True,
)

starts = Table(
    "starts",
    metadata,
    _id(),
    _release(),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    _text("gate"),
    _text("case_name"),
    _instant("at"),
    sqlite_autoincrement=True,
)

step_events = Table(
    "step_events",
    metadata,
    _id(),
    _release(),
    Column("run_id", Integer, ForeignKey("runs.id")),
    _text("phase"),
    _text("step"),
    _text("event"),
    _instant("at"),
    _text("reason"),
    sqlite_autoincrement=True,
)

audit_logs = Table(
    "audit_logs",
    metadata,
    _id(),
    _release(nullable=True),
    _instant("at"),
    _text("user_id"),
    _text("action_type"),
    _text("resource_type"),
    _text("action_description"),
    _text("severity"),
    sqlite_autoincrement=True,
)

entries = Table(
    "entries",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _instant("at"),
    _text("kind"),
    Column("row_id", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _text("previous"),
    _text("digest"),
)

CHAINED: dict[str, Table] = {
    table.name: table
    for table in (
        releases,
        runs,
        gate_results,
        evidence,
        snapshots,
        attestations,
        waivers,
        sign_offs,
        revocations,
        release_stakeholders,
        step_events,
        starts,
        audit_logs,
    )
}
"""The tables whose every row and change stands in an entry."""

CHANGING = frozenset({"releases", "runs", "release_stakeholders"})
"""Those of them whose rows a later entry may change; what the others hold stays as it was written."""
