"""What a JSON document holds at dotted paths, compared with what a plan expects there."""

from __future__ import annotations

import json
import re
from math import inf
from typing import TYPE_CHECKING, Any

from pytest_releasegate.check import find
from pytest_releasegate.params import Threshold
from pytest_releasegate.sources.text import fill, shown, visible

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["at_path", "document", "dotted", "parsed", "under"]

_COMMIT = "${release.git_commit}"
_SHORTEST_COMMIT = 7
_MOST_SHOWN = 200
_JSONPATH = re.compile(r"^\$(\.|\[|$)|\[[^\]]*\]|(^|\.)\*(\.|$)")
_NOTHING = object()


def dotted(path: str) -> str:
    """The path itself; raises `ValueError` for one that is written as JSONPath, which no document would have."""
    if _JSONPATH.search(path):
        hint = "; nothing stands for all of a list" if "*" in path else ""
        raise ValueError(f"expected a dotted path such as `status` or `items.0.ok`, got '{path}'{hint}")
    return path


def document(body: bytes, media_type: str) -> tuple[Any, Finding | None]:
    """The body read as JSON, or the finding that it is none."""
    try:
        return parsed(body), None
    except ValueError as error:
        actual = f"{len(body)} bytes of {visible(media_type) or 'no content type'} that are not JSON"
        return None, find("body", expected="JSON", actual=f"{actual} ({_why(error)})", ok=False)


def parsed(body: bytes) -> Any:
    """The body read as JSON; raises `ValueError` where it is none, or nobody can tell what it says."""
    try:
        return json.loads(body, parse_constant=_refused, object_pairs_hook=_once)
    except RecursionError:
        raise _Odd("nested too deeply") from None


class _Odd(ValueError):
    """Why it is no JSON, in words that hold nothing of it."""


def _why(error: ValueError) -> str:
    return str(error) if isinstance(error, _Odd) else type(error).__name__


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; one that says a key twice means something else to each of its readers."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Odd("an object holds a key twice")
    return found


def _refused(name: str) -> Any:
    raise _Odd(f"{name} is no number of JSON")


def under(document: Any, path: str) -> Any:
    """What stands under a dotted path of objects, the whole for an empty one; None where nothing does."""
    for key in filter(None, path.split(".")):
        document = document.get(key) if isinstance(document, dict) else None
    return document


def at_path(path: str, expected: JsonValue, document: Any, context: Context) -> Finding:
    """What stands at a dotted path, compared with the value or the threshold expected there."""
    actual, known_keys = _dig(document, path)
    wanted = fill(context.resolve(expected), context.release) if isinstance(expected, str) else expected
    if actual is _NOTHING:
        return find(f"body {path}", expected=_written(wanted), actual=f"nothing there ({known_keys})", ok=False)
    if expected == _COMMIT:
        ok = _same_commit(actual, str(wanted))
    else:
        threshold = Threshold.read(wanted)
        ok = threshold.holds(actual) if threshold and _is_number(actual) else not threshold and _same(actual, wanted)
        wanted = _Bare(wanted) if threshold else wanted
    return find(f"body {path}", expected=_written(wanted), actual=_written(actual), ok=ok)


class _Bare(str):
    """A text that is written without quotes."""

    __slots__ = ()


def _dig(document: Any, path: str) -> tuple[Any, str]:
    """The value at the path, or `_NOTHING` and the keys where the path ends."""
    for key in path.split("."):
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and key.isdigit() and int(key) < len(document):
            document = document[int(key)]
        else:
            return _NOTHING, _keys(document)
    return document, ""


def _keys(document: Any) -> str:
    if isinstance(document, dict):
        return f"known: {shown(sorted(document))}" if document else "an empty object"
    return f"a list of {len(document)}" if isinstance(document, list) else f"a {type(document).__name__}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) != inf


def _same(actual: Any, wanted: Any) -> bool:
    """Equal as JSON: `true` is not 1, while 1 is 1.0."""
    if isinstance(actual, list) and isinstance(wanted, list):
        return len(actual) == len(wanted) and all(map(_same, actual, wanted))
    if isinstance(actual, dict) and isinstance(wanted, dict):
        return actual.keys() == wanted.keys() and all(_same(actual[key], wanted[key]) for key in wanted)
    return isinstance(actual, bool) is isinstance(wanted, bool) and bool(actual == wanted)


def _same_commit(actual: Any, commit: str) -> bool:
    """Whether it names the commit, in full or by at least seven of its first digits."""
    return isinstance(actual, str) and len(actual) >= _SHORTEST_COMMIT and commit.startswith(actual.lower())


def _written(value: Any) -> str:
    text = visible(value if isinstance(value, _Bare) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}... ({len(text)} characters)"
