"""What the plan of a write decides about the rows it reaches, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["of_plan"]

_CONDITIONS = ("Filter", "One-Time Filter", "Index Cond", "Recheck Cond", "TID Cond", "Join Filter", "Hash Cond")
_PLAIN = {"ModifyTable", "Seq Scan", "Append", "Result"}


def of_plan(plan: Any) -> tuple[bool | None, str]:
    """Whether a write of all rows reaches every one (or none); None and its conditions when the plan leaves that open.

    The policies stand in the plan as conditions: where no policy permits, PostgreSQL plans `One-Time Filter: false`.
    """
    if not isinstance(plan, list) or len(plan) != 1 or "Plan" not in plan[0]:
        # a rule made another statement of it, or several
        return None, ""
    nodes = list(_nodes(plan[0]["Plan"]))
    conditions = list(dict.fromkeys(str(node[key]) for node in nodes for key in _CONDITIONS if key in node))
    if conditions == ["false"] and [node["Node Type"] for node in nodes] == ["ModifyTable", "Result"]:
        return False, ""
    if conditions or any(node["Node Type"] not in _PLAIN for node in nodes):
        return None, " and ".join(conditions)
    return True, ""


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
