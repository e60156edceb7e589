"""What is known of a gate or case."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Status"]


class Status(StrEnum):
    """What is known of a gate or case."""

    PASSED = "passed"
    """Looked at, and as expected."""
    FAILED = "failed"
    """Looked at, and not as expected."""
    ERROR = "error"
    """Could not look."""
    INCONCLUSIVE = "inconclusive"
    """Looked, too little to tell."""
    PENDING = "pending"
    """A person must speak."""
    MISSING = "missing"
    """No valid row in the record."""
    NOT_DUE = "not_due"
    """Its time has not come."""
    NOT_APPLICABLE = "not_applicable"
    """The release's facts rule it out."""
    ATTESTED = "attested"
    """A named person has said so, and the word is still valid."""
    WAIVED = "waived"
    """Failed, and the risk is accepted."""
