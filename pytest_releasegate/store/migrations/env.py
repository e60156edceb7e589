"""Runs the migrations on the connection, and in the transaction, that the caller gives."""

from __future__ import annotations

from alembic import context

from pytest_releasegate.store.schema import SCHEMA, VERSION_TABLE, metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA if connection.dialect.name == "postgresql" else None,
)
with context.begin_transaction():
    context.run_migrations()
