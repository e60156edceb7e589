"""What a JSON document holds at dotted paths, compared with what a plan expects there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_releasegate.check import find
from pytest_releasegate.params import Threshold
from pytest_releasegate.sources.text import fill, shown, visible

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["at_path", "document"]

_COMMIT = "${release.git_commit}"
_SHORTEST_COMMIT = 7
_MOST_SHOWN = 200
_NOTHING = object()


def document(body: bytes, media_type: str) -> tuple[Any, Finding | None]:
    """The body read as JSON, or the finding that it is none."""
    try:
        return json.loads(body, parse_constant=_refused), None
    except (ValueError, RecursionError) as error:
        actual = f"{len(body)} bytes of {visible(media_type) or 'no content type'} that are not JSON"
        return None, find("body", expected="JSON", actual=f"{actual} ({type(error).__name__})", ok=False)


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


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
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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
