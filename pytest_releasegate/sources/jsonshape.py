"""Whether a JSON document has the shape that a JSON Schema gives it; findings never show texts of the document."""

from __future__ import annotations

import json
from datetime import datetime
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from pytest_releasegate.check import find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.sources.text import shown, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from jsonschema import FormatChecker, ValidationError

    from pytest_releasegate.model import Finding

__all__ = ["read_schema", "require_schema", "shaped"]

_MOST_FINDINGS = 10
_MOST_SHOWN = 120
_BY_NAME = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
_HOLD_SCHEMAS = _BY_NAME | {
    *("items", "prefixItems", "contains", "additionalProperties", "propertyNames", "unevaluatedItems"),
    *("unevaluatedProperties", "additionalItems", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"),
}
_SAY_NOTHING = {
    *("$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "title", "description", "default"),
    *("examples", "deprecated", "readOnly", "writeOnly"),
}
_WORDS = (
    _HOLD_SCHEMAS
    | _SAY_NOTHING
    | {
        *("$ref", "$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$vocabulary", "type", "enum", "const", "format"),
        *("multipleOf", "maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum", "maxLength", "minLength"),
        *("pattern", "maxItems", "minItems", "uniqueItems", "maxContains", "minContains", "maxProperties"),
        *("minProperties", "required", "dependentRequired", "dependencies", "contentEncoding", "contentMediaType"),
        "contentSchema",
    }
)
"""The keywords of its drafts; others are allowed, and say nothing."""
_NAMES: dict[type[Any], str] = {dict: "an object", list: "a list", str: "a text"}


def require_schema(schema: Any) -> None:
    """Raise `ValueError` where this is no JSON Schema, or one that cannot be held to here."""
    from jsonschema import SchemaError

    if not isinstance(schema, dict):
        raise ValueError("no JSON Schema: expected an object")  # noqa: TRY004  pydantic and the caller take this one
    try:
        _class(schema).check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "its top"
        raise ValueError(f"no JSON Schema: at {place}: {error.message}") from None
    _require_words(schema)
    known = sorted(_formats().checkers)
    unknown = sorted(set(_used_formats(schema)) - set(known))
    if unknown:
        raise ValueError(f"the format {shown(unknown)} is not looked at here; known: {', '.join(known)}")


def read_schema(root: Path, name: str) -> dict[str, Any]:
    """The schema in a file, relative to the root; raises `CannotLook` where there is none."""
    path = root / name
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        require_schema(read)
    except OSError as error:
        raise CannotLook(f"schema: {path}: {error.strerror}", "name a JSON file, relative to the root") from None
    except ValueError as error:
        raise CannotLook(f"schema: {path}: {error}", "see https://json-schema.org") from None
    return dict(read)


def shaped(document: Any, schema: Mapping[str, Any]) -> Iterator[Finding]:
    """One finding where the document fits, else one for each of the first places where it does not."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry, because what a `$ref` names must be in the schema: nothing is fetched.
    looked = _class(schema)(schema, registry=Registry(), format_checker=_formats())
    try:
        errors = list(islice(looked.iter_errors(document), _MOST_FINDINGS))
    except Unresolvable as error:
        raise CannotLook(f"schema: nothing is known as {error.ref}", "put it into the schema, under `$defs`") from None
    except RecursionError:
        yield find("schema", expected="a document as described", actual="one that is nested too deeply", ok=False)
        return
    if not errors:
        nothing = _unseen(document, schema)
        ok = Ok.CANNOT_TELL if nothing else True
        yield find("schema", expected="a document as described", actual=nothing or "one", ok=ok)
    yield from map(_misfit, errors)


def _require_words(schema: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a schema that any document fits, or whose keywords are misspelt, which fit any too."""
    for part in _schemas(schema):
        for word in part.keys() - _WORDS:
            if alike := get_close_matches(word, _WORDS, 1, 0.8):
                raise ValueError(f"'{word}' is no keyword of JSON Schema; did you mean '{alike[0]}'?")
    if not schema.keys() & (_WORDS - _SAY_NOTHING):
        raise ValueError("it describes nothing, and any document fits; expected `type`, `required`, `properties`...")


def _schemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    """The schema and those within it."""
    if not isinstance(schema, dict):
        return
    yield schema
    for word, value in schema.items():
        inner = list(value.values()) if word in _BY_NAME and isinstance(value, dict) else [value]
        for each in [part for one in inner for part in (one if isinstance(one, list) else [one])]:
            if word in _HOLD_SCHEMAS:
                yield from _schemas(each)


def _unseen(document: Any, schema: Mapping[str, Any]) -> str:
    """What the document lacks of all that the schema is about; nothing where some of it was compared."""
    if isinstance(document, list) and not document and "items" in schema and "minItems" not in schema:
        return "an empty list: none of its items was seen; say `minItems: 0` where that will do"
    names = schema.get("properties", {})
    if not names or schema.keys() & {"required", "$ref", "allOf", "anyOf", "oneOf", "if", "minProperties"}:
        return ""
    if isinstance(document, dict) and not names.keys() & document.keys():
        return f"none of {shown(sorted(names))}; name under `required` what must be there"
    return "" if isinstance(document, dict) else f"{_described(document)}; say `type: object`"


def _misfit(error: ValidationError) -> Finding:
    place = visible(".".join(map(str, error.absolute_path)))
    expected, actual = _difference(error)
    name = f"schema at {place}" if place else "schema"
    return find(name[:_MOST_SHOWN], expected=expected, actual=actual, ok=False)


def _difference(error: ValidationError) -> tuple[str, str]:
    keyword, found = str(error.validator), error.instance
    value: Any = error.validator_value
    if keyword == "required" and isinstance(found, dict):
        return f"the keys {shown(list(value))}", f"no {shown([key for key in value if key not in found])}"
    if keyword == "additionalProperties" and isinstance(found, dict) and value is False:
        known = cast("dict[str, Any]", error.schema).get("properties", {})
        return f"no keys but {shown(sorted(known))}", f"{len(found.keys() - known.keys())} more"
    if keyword == "type":
        return f"type {value if isinstance(value, str) else ' or '.join(value)}", _described(found)
    written = json.dumps(value, ensure_ascii=False)
    return f"{keyword} {written if len(written) <= _MOST_SHOWN else written[:_MOST_SHOWN] + '...'}", _described(found)


def _described(value: Any) -> str:
    """What it is, without its texts: those may be personal."""
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)[:_MOST_SHOWN]
    return f"{_NAMES.get(type(value), 'something')} of {len(value)}"


def _class(schema: Mapping[str, Any]) -> Any:
    from jsonschema import Draft202012Validator, validators

    made: Any = validators
    return made.extend(made.validator_for(schema, default=Draft202012Validator), {"uniqueItems": _unique})


def _unique(_: Any, wanted: bool, instance: Any, __: Any) -> Iterator[ValidationError]:
    """Each item once: the library compares each with each, which takes hours for what one answer may hold."""
    from jsonschema import ValidationError

    if wanted and isinstance(instance, list) and len({_canonical(item) for item in instance}) < len(instance):
        yield ValidationError("an item stands there twice")


def _canonical(value: Any) -> str:
    """The value as a text that is the same for what JSON Schema takes as equal, such as 1 and 1.0."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(part) for name, part in value.items()}
    if isinstance(value, list):
        return list(map(_whole, value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _formats() -> FormatChecker:
    """The formats that the libraries at hand can tell, and instants."""
    from jsonschema import FormatChecker

    checker = FormatChecker()
    checker.checks("date-time", raises=ValueError)(_is_instant)
    return checker


def _is_instant(value: object) -> bool:
    return not isinstance(value, str) or ("T" in value.upper() and datetime.fromisoformat(value).tzinfo is not None)


def _used_formats(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("format"), str):
            yield schema["format"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _used_formats(part)
