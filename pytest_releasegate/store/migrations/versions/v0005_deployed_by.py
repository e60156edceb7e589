"""Who, or which gate, said when a release was deployed."""

from __future__ import annotations

from alembic import op

from pytest_releasegate.store.schema import SCHEMA

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; it is empty for what was deployed before."""
    # the engine translates schemas in tables that it creates, not in those that it alters
    where = f"{SCHEMA}." if op.get_bind().dialect.name == "postgresql" else ""
    op.execute(f"ALTER TABLE {where}releases ADD COLUMN deployed_by TEXT")


def downgrade() -> None:
    """Refuse: a record is never thrown away by a migration."""
    raise NotImplementedError("the record has no older schema")
