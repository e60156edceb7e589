"""Claims as signed files, their revocation, and what a release was opened under."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, ForeignKey, Integer, Text

from pytest_releasegate.store.schema import SCHEMA

revision = "0003"
down_revision = "0002"

_ADDED = {
    "releases": ("profile", "authors", "derived"),
    "attestations": ("expires_at", "file_sha256"),
    "waivers": ("risk", "file_sha256"),
    "sign_offs": ("file_sha256",),
}


def upgrade() -> None:
    """Add what is new; older rows hold nothing there."""
    # the engine translates schemas in tables that it creates, not in those that it alters
    where = f"{SCHEMA}." if op.get_bind().dialect.name == "postgresql" else ""
    for table, names in _ADDED.items():
        for name in names:
            op.execute(f"ALTER TABLE {where}{table} ADD COLUMN {name} TEXT")
    op.execute(f"ALTER TABLE {where}waivers RENAME COLUMN approver TO person")
    op.create_table(
        "revocations",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("release_id", Integer, ForeignKey("releases.id"), nullable=False),
        Column("identity", Text, nullable=False, unique=True),
        *(Column(name, Text, nullable=False) for name in ("claim", "reason", "person", "role", "at")),
        Column("file_sha256", Text),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_revocations_release_id", "revocations", ["release_id"])


def downgrade() -> None:
    """Refuse: a record is never thrown away by a migration."""
    raise NotImplementedError("the record has no older schema")
