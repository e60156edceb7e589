"""Where a result that came from another record was written, and as which of that record's results."""

from __future__ import annotations

from alembic import op

from pytest_releasegate.store.schema import SCHEMA

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; it is empty for results that were written here."""
    # the engine translates schemas in tables that it creates, not in those that it alters
    where = f"{SCHEMA}." if op.get_bind().dialect.name == "postgresql" else ""
    op.execute(f"ALTER TABLE {where}gate_results ADD COLUMN origin TEXT")


def downgrade() -> None:
    """Refuse: a record is never thrown away by a migration."""
    raise NotImplementedError("the record has no older schema")
