"""The rows by which a gate that writes runs once."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, ForeignKey, Integer, Text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "starts",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("release_id", Integer, ForeignKey("releases.id"), nullable=False),
        Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
        *(Column(name, Text, nullable=False) for name in ("gate", "case_name", "at")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_starts_release_id", "starts", ["release_id"])


def downgrade() -> None:
    """Refuse: a record is never thrown away by a migration."""
    raise NotImplementedError("the record has no older schema")
