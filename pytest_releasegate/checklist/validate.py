"""Turns what pydantic finds wrong into problems with places, in the user's words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from pytest_releasegate.errors import Problem, nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from pytest_releasegate.checklist.nodes import Route, Tree
    from pytest_releasegate.params import Parameters

__all__ = ["known_keys", "validate"]

Model = TypeVar("Model", bound="Parameters")

_WANTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
    "frozen_set_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


def validate(model: type[Model], value: Any, tree: Tree, route: Route) -> Model | None:
    """The value as the model, or None with every problem added to the tree."""
    try:
        return model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as wrong:
        errors = [error for error in wrong.errors(include_url=False) if not _told_by_its_parts(error)]
        tree.problems += _joined([_problem(model, error, tree, route) for error in errors])
        return None


def _told_by_its_parts(error: ErrorDetails) -> bool:
    """Whether a list is long enough and counts as too short only because of what is wrong in it."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _joined(problems: list[Problem]) -> list[Problem]:
    """Each problem once, and as one what several forms of a value expected of the same text."""
    found: dict[tuple[object, str], dict[str, Problem]] = {}
    for problem in problems:
        wanted, got = _split(problem)
        found.setdefault((problem.place, got or problem.what), {}).setdefault(wanted, problem)
    return [_one(got, alike) for (_, got), alike in found.items()]


def _one(got: str, alike: dict[str, Problem]) -> Problem:
    first, *others = alike.values()
    if not others:
        return first
    hint = next((problem.hint for problem in alike.values() if problem.hint), "")
    wanted = " or ".join(dict.fromkeys(text.removeprefix("expected ") for text in alike))
    return replace(first, what=f"expected {wanted}{got}", hint=hint)


def _split(problem: Problem) -> tuple[str, str]:
    """What was expected of a value, and what was got, where the problem says both."""
    wanted, comma, got = problem.what.rpartition(", got the ")
    return (wanted, comma + got) if comma and wanted.startswith("expected ") else (problem.what, "")


def known_keys(model: type[Parameters]) -> dict[str, str]:
    """The YAML keys of a model, with what each means."""
    return {field.alias or name: field.description or "" for name, field in model.model_fields.items()}


def _problem(model: type[Parameters], error: ErrorDetails, tree: Tree, start: Route) -> Problem:
    route = _existing(tree, (*start, *error["loc"]))
    kind, got = error["type"], _got(tree, route, error["input"])
    named = [part for part in error["loc"] if isinstance(part, str) and part != "[key]"]
    last = str(error["loc"][-1]) if error["loc"] else ""
    if kind == "missing":
        inside = _existing(tree, (*start, *error["loc"][:-1]))
        return Problem(tree.place(inside), f"missing key '{last}'", known_keys(_owner(model, error)).get(last, ""))
    if kind == "extra_forbidden":
        hint = nearest(last, list(known_keys(_owner(model, error))))
        return Problem(tree.place(route, key=True), f"unknown key '{last}'", hint)
    if kind in _WANTED:
        hint = f'quote it: "{tree.texts[route]}"' if kind == "string_type" and route in tree.texts else ""
        return Problem(tree.place(route), f"expected {_WANTED[kind]}, got {got}", hint)
    if kind in {"literal_error", "enum"}:
        expected = str(error["ctx"]["expected"]).replace("'", "")
        close = nearest(got.removeprefix("the text ").strip("'"), expected.replace(" or ", ", ").split(", "))
        return Problem(tree.place(route), f"expected {expected}, got {got}", close.partition("known:")[0].strip())
    if kind == "too_short":
        return Problem(tree.place(route), f"expected at least {error['ctx']['min_length']}, got {len(error['input'])}")
    if kind == "string_pattern_mismatch":
        hint = f"pattern: {error['ctx']['pattern']}"
        is_key = last == "[key]"
        role = "a key here" if is_key else f"in '{named[-1]}'" if isinstance(error["loc"][-1], int) else f"the {last}"
        return Problem(tree.place(route, key=is_key), f"'{error['input']}' cannot be {role}", hint)
    text, _, hint = error["msg"].removeprefix("Value error, ").partition("\n")
    if "got" not in text and not isinstance(error["input"], dict | list):
        text = f"{text[:1].lower()}{text[1:]}, got {got}"
    return Problem(tree.place(route), text, hint.strip())


def _owner(model: type[Parameters], error: ErrorDetails) -> type[Parameters]:
    """The model in whose mapping the error lies: the innermost one that the error's route goes through."""
    from pytest_releasegate.params import Parameters

    current: type[Parameters] = model
    for part in error["loc"][:-1]:
        names = {field.alias or name: field for name, field in current.model_fields.items()}
        if part in names:
            inner = _model_in(names[str(part)].annotation, Parameters)
            current = inner or current
    return current


def _model_in(annotation: Any, base: type) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, base):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_in(part, base)
        if found:
            return found
    return None


def _existing(tree: Tree, route: tuple[Any, ...]) -> Route:
    """The route without the parts that pydantic adds for unions and that no document has."""
    result: Route = ()
    for part in route:
        if (*result, part) in tree.values or (*result, part) in tree.keys:
            result = (*result, part)
    return result


def _got(tree: Tree, route: Route, value: Any) -> str:
    text = tree.texts.get(route, value)
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the YAML bool '{text}'"
    if isinstance(value, int | float):
        return f"the number {text}"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"the text '{value}'"
