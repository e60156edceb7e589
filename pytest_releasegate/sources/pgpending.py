"""Which migration files a release brings to a database, as the kinds that read or rehearse them declare it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.pgplans import pending
from pytest_releasegate.sources.pgtrial import found, scripts
from pytest_releasegate.sources.postgres import connect, first_rows, one_statement

if TYPE_CHECKING:
    from pytest_releasegate.check import Context
    from pytest_releasegate.sources.pgsplit import Script

__all__ = ["Pending"]

_MOST_APPLIED = 100_000


class Pending(Parameters):
    """Files by their names, without those that the database has."""

    files: list[str] = Field(default=["migrations/*.up.sql"], min_length=1)
    """Patterns of the files under the root folder, which go by the order of their names."""
    since: str = ""
    """Leave out the files whose names sort before this one, such as `004`."""
    applied: str = ""
    """A query that gives the versions that the database has; files whose names begin with one are left out."""
    database: str = ""
    """The environment's database; by default the only one, or `app`."""

    @field_validator("files", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("applied")
    @classmethod
    def _single(cls, text: str) -> str:
        return one_statement(text) if text else text

    def pending(self, context: Context, name: str) -> list[Script]:
        """The files that the database of this name does not have yet."""
        files = scripts(found(context.root, self.files, self.since), context.root)
        if not self.applied:
            return files
        with connect(context, name) as connection:
            return pending(files, [str(row[0]) for row in first_rows(connection, self.applied, limit=_MOST_APPLIED)])
