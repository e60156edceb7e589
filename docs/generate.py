"""Writes the pages that come from the code: check kinds, commands, options, exit codes. `--check` only compares."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

os.environ["COLUMNS"] = "100"
FOLDER = Path(__file__).parent

START = """\
## Where they come from

```sh
releasegate init --product acme-crm --base-url https://staging.acme.example --database '${env:ACME_STAGING_DSN}'
releasegate init --from RELEASE_CHECKLIST.md    # your own checklist instead of the reference
```

writes `gates/`, `smoke/`, `load/`, a `conftest.py` and pytest's settings into the folder, asks on a terminal for what
no option says, and replaces nothing without `--force`. The reference checklist has 270 lines: what a check can look at
is looked at, and the others are `attest` gates that name the role, and by `instead_of` the kind of check to come. A
document that the folder does not have is a person's word until it is there. Tables, pages and flows are those of the
demo's health record, to be replaced by your own, as are the placeholders that hold the roles in `stakeholders.yaml`."""

LINTS = """\
```yaml
phase: predeploy
items:
  - item: "5.1"
    title: The database's schema is sound
    gates:
      - id: 5.1.1
        title: No lint speaks of the schema
        schema_lint:
          api_schemas: [public]
          ignore:
            security_definer_view:
              public.opening_hours: shows nothing but opening hours
```

runs all of them in a few round trips, reading catalogues only; so does, outside of a gate,

```sh
releasegate schema-lint '${env:STAGING_DSN}' --api-schema public --format sql
```

What an API (PostgREST, Supabase, GraphQL) reaches depends on the schemas that it serves. Nothing in the database says
which, so they must be said: without them the gate is an `error`, never all clear. `api_schemas: []` says that there is
no API, and leaves out the lints marked *API*. If none of the roles in `api_roles` exists, these cannot tell, and the
gate is inconclusive. A role reaches a table with USAGE on its schema and a privilege on the table or on one of its
columns, granted to it, to PUBLIC or to a role that it is a member of.

Objects of extensions are left out, and so are schemas with the well-known names of a platform's or an extension's, such
as `auth` and `storage`; what was left out is shown, and `include` takes in those that are yours.

Lints that Supabase's splinter knows have its names and meanings. They look closer in some places: USAGE on the schema
is asked for; grants on columns, and privileges to write, count as reaching; a function that only triggers can call is
not callable; aggregates and functions whose body is bound (BEGIN ATOMIC) need no search_path; and one bare
`auth.uid()` beside a wrapped one is found."""

TOGETHER = """\
## Gates that look together

A gate that only waits on a network and changes nothing is looked at together with those that follow it: at most 32 at
once in a process, at most 8 of them on one host. pytest still tells of them in their order, each with its own time;
what a gate waits for its turn counts neither as its time nor against its `timeout`. These kinds do: `http` with GET,
HEAD or OPTIONS, `functions` likewise, `headers`, `cookies`, `cors`, `robots`, `banner`, `dns`, `tcp`, `tls`, `version`,
`statuspage`, `credential`, `incidents`, `metrics`, and `feature_flags` and `maintenance` unless they ask a database.

- Nothing is looked at before what comes first: a gate of another kind, one that writes, an earlier step or target. A
  gate that `needs` others begins when those are in the record. Python tests keep nobody waiting: a gate that
  depends on what a test does says so by `needs`.
- `together: false` lets a gate look alone: nothing goes on beside it, as for an answer's time that no other may
  touch. It is no part of what the plan freezes.
- Hooks of a conftest that pytest calls before an item (`pytest_runtest_setup`) come after the look of such a gate has
  begun; a gate that needs what they prepare says `together: false`.
- When a run is stopped (`-x`, Ctrl-C), looks that were begun and not told of are dropped: no result, the gate is
  missing.
- With xdist and `--dist load`, gates that stand side by side go to one worker, all at once. If that worker dies,
  another looks at the rest of them one by one, so that the gate that kills workers is found; the gate that pytest had
  come to when the first one died is an error too. With `worksteal`, or another plugin that hands out the tests, each
  worker looks at one gate at a time.

A kind of your own joins by `waits: ClassVar[bool] = True` on its class, or a property of that name, and asks each
host within `with turn(host):` of `pytest_releasegate.turns` (`ask` of `pytest_releasegate.sources.http` does so)."""

EDITORS = """\
## In an editor

```sh
releasegate schema --output gates/.schema.json
```

writes the JSON Schema of gate files, with the kinds of check that are installed; `init` has done so. An editor with the
YAML language server (VS Code's YAML extension, Neovim, Helix and others) completes kinds and keys, and underlines
mistakes, in each file whose first line is

```text
# yaml-language-server: $schema=.schema.json
```

After an update, or with another distribution's kinds installed, write it again."""


def main() -> int:
    """Write the pages, or with `--check` say which are stale."""
    pages = {
        "checks.md": checks(),
        "commands.md": commands(),
        "gate-files.md": gate_files(),
        "exit-codes.md": exit_codes(),
        "schema-lints.md": schema_lints(),
    }
    stale = [name for name, text in pages.items() if not _same(FOLDER / name, text)]
    if "--check" in sys.argv:
        sys.stdout.write("".join(f"docs/{name} is stale: python docs/generate.py\n" for name in stale))
        return bool(stale)
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def checks() -> str:
    """Every kind, with its example and its keys."""
    from pytest_releasegate.checks import kinds, load_kind

    parts = [_head("Check kinds", "What a gate can look at. A gate has exactly one of these keys.")]
    for kind in kinds():
        model = load_kind(kind)
        if model.__module__.startswith("pytest_releasegate."):
            parts.append(f"## `{kind}`\n\n{inspect.cleandoc(model.__doc__ or '')}\n\n{_table(model)}")
            parts += [f"### `{kind}`: keys of {name}\n\n{_table(inner)}" for name, inner in _inner(model).items()]
    return "\n\n".join(parts) + "\n"


def gate_files() -> str:
    """The keys of all files of a gates folder."""
    from pytest_releasegate.checklist import rules_schema, schema

    parts = [_head("Gate files", "What the files of `gates/` may hold; nothing else is accepted.")]
    for title, model in (
        ("A file", schema.FileKeys),
        ("An item", schema.ItemKeys),
        ("A gate", schema.GateKeys),
        ("`environments.yaml`", schema.EnvironmentsFile),
        ("An environment", schema.EnvironmentKeys),
        ("`policy.yaml`", rules_schema.PolicyFile),
        ("`stakeholders.yaml`", rules_schema.StakeholdersFile),
    ):
        parts.append(f"## {title}\n\n{inspect.cleandoc(model.__doc__ or '')}\n\n{_table(model)}")
        if model.__module__ == rules_schema.__name__:
            inner = _inner(model).items()
            parts += [f"### {title}: keys of {name}\n\n{_table(keys)}" for name, keys in inner]
    return "\n\n".join([parts[0], START, *parts[1:], TOGETHER, EDITORS]) + "\n"


def commands() -> str:
    """Every subcommand with its options, and the plugin's options of pytest."""
    from pytest_releasegate import plugin
    from pytest_releasegate.cli import build_parser

    parser = build_parser()
    parts = [_head("Commands", "`releasegate COMMAND`; `--help` says the same.")]
    choices = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    for name, sub in choices.items():
        parts.append(f"## `releasegate {name}`\n\n{_sentence(sub.description or '')}\n\n{_options(sub)}")
    options = _PluginOptions()
    plugin.pytest_addoption(options)  # type: ignore[arg-type]
    rows = "\n".join(f"| `{words}` | {_sentence(text)} |" for words, text in options.rows)
    parts.append(f"## `pytest`\n\nOptions and ini values of the plugin.\n\n| word | meaning |\n|---|---|\n{rows}")
    return "\n\n".join(parts) + "\n"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


class _PluginOptions:
    """Takes the place of pytest's parser and notes what it is given."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []

    def getgroup(self, *_words: str) -> _PluginOptions:
        return self

    def addoption(self, name: str, **rest: Any) -> None:
        value = rest.get("metavar") or " \\| ".join(rest.get("choices", ()))
        self.rows.append((f"{name} {value}".strip(), rest["help"]))

    def addini(self, name: str, text: str, **_rest: Any) -> None:
        self.rows.append((f"{name} =", text))


def _options(parser: argparse.ArgumentParser) -> str:
    rows = ["| word | meaning |", "|---|---|"]
    for action in parser._actions:  # noqa: SLF001  argparse has no public list of them
        if isinstance(action, argparse._HelpAction):  # noqa: SLF001
            continue
        words = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        value = action.metavar if action.option_strings and action.nargs != 0 else ""
        choices = " \\| ".join(str(choice) for choice in action.choices) if action.choices else ""
        shown = " ".join(str(part) for part in (words, value or (action.option_strings and choices)) if part)
        rows.append(f"| `{shown}` | {action.help or choices} |")
    return "\n".join(rows)


def exit_codes() -> str:
    """The exit codes of pytest and of `releasegate`."""
    from pytest_releasegate.errors import ExitCode

    source = inspect.getsource(ExitCode)
    rows = re.findall(r'^    (\w+) = (\d+)\n    """(.*?)"""', source, re.MULTILINE | re.DOTALL)
    table = "\n".join(f"| {number} | `{name}` | {text} |" for name, number, text in rows)
    head = _head("Exit codes", "What `pytest -m ...` and `releasegate status --exit-code` end with.")
    return f"{head}\n\n| code | name | meaning |\n|--:|---|---|\n{table}\n"


def schema_lints() -> str:
    """Every lint of a schema: what is expected, why, and the SQL that mends it."""
    from pytest_releasegate.sources import pglints

    text = "What [`schema_lint`](checks.md#schema_lint) holds a PostgreSQL catalogue against."
    parts = [_head("Lints of a schema", text), LINTS]
    for level in pglints.Level:
        parts.append(f"## {level}")
        for lint in (each for each in pglints.LINTS if each.level is level):
            marks = ["API"] if lint.api else []
            marks += [f"PostgreSQL {int(lint.where.split()[-1]) // 10000} and newer"] if lint.where else []
            marks += [f"also `{name}`" for name in lint.aliases]
            mark = f" *{', '.join(marks)}*" if marks else ""
            fix = f"```sql\n{lint.fix}\n```"
            parts.append(f"### `{lint.id}`\n\n{_sentence(lint.title)}{mark}\n\n{lint.why}\n\n{fix}")
    return "\n\n".join(parts) + "\n"


def _head(title: str, text: str) -> str:
    return f"<!-- Written by docs/generate.py. -->\n# {title}\n\n{text}"


def _table(model: Any) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    schema = model.model_json_schema(by_alias=True)
    properties = (schema if "properties" in schema else schema["anyOf"][0])["properties"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        default = "required" if field.is_required() else f"`{_default(field.default, properties[key])}`"
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        rows.append(f"| `{key}` | {_type(properties[key])} | {default} | {meaning} |")
    return "\n".join(rows)


def _inner(model: Any) -> dict[str, Any]:
    """The models that the fields of a model hold, at any depth, by the titles that its table gives them."""
    from pydantic import BaseModel

    found: dict[str, Any] = {}
    todo = [field.annotation for field in model.model_fields.values()]
    for annotation in todo:
        if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
            fields = annotation.model_fields
            if fields and annotation.__name__ not in found and all(field.description for field in fields.values()):
                found[annotation.__name__] = annotation
                todo += [field.annotation for field in fields.values()]
        else:
            todo += get_args(annotation)
    return found


def _default(raw: Any, shown: dict[str, Any]) -> str:
    from pytest_releasegate.params import format_duration

    if isinstance(raw, timedelta):
        return format_duration(raw)
    value = str(raw) if isinstance(shown.get("default"), dict) and shown["default"] else shown.get("default", "")
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value) if value or value == 0 else "empty"


def _type(shown: dict[str, Any]) -> str:
    if "enum" in shown:
        return " \\| ".join(f"`{word}`" for word in shown["enum"])
    if "anyOf" in shown:
        return " or ".join(dict.fromkeys(_type(part) for part in shown["anyOf"] if part.get("type") != "null")) or "any"
    if "$ref" in shown:
        return shown["$ref"].rpartition("/")[2]
    if shown.get("type") == "array":
        return f"list of {_type(shown.get('items', {}))}"
    words = {"string": "text", "object": "mapping", "integer": "number", "boolean": "true/false", None: "any"}
    kind = shown.get("type")
    return words.get(kind, str(kind))


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
