"""`extensions`: those that must be there are there and new enough, and no others."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, GetCoreSchemaHandler, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, text_schema
from pytest_releasegate.sources.pgtables import aligned, quoted
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic_core import core_schema

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding

__all__ = ["Extensions", "Version"]

_ALWAYS = "plpgsql"
_VERSION = re.compile(r"(<=|>=|==|!=|<|>)?\s*(\d+(?:\.\d+)*)")
_NUMBERS = re.compile(r"\d+(?:\.\d+)*")
_COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_EXTENSIONS = """
select coalesce(e.extname, a.name), e.extversion, n.nspname, a.default_version
from pg_catalog.pg_extension e
join pg_catalog.pg_namespace n on n.oid = e.extnamespace
full join (select name, default_version from pg_catalog.pg_available_extensions()) a on a.name = e.extname
where e.extname is not null or a.name = any(%s)
order by 1
"""


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of an extension is good: `any`, `default` (the newest that the server has), `1.5` or `>= 1.5`."""

    text: str
    sign: str = ""
    numbers: tuple[int, ...] = ()

    @classmethod
    def parse(cls, value: Any) -> Version:
        """Read the text; raises `ValueError` that says what is allowed."""
        if isinstance(value, Version):
            return value
        # a number has lost its last nought already: 1.10 is not 1.1
        text = " ".join(value.split()) if isinstance(value, str) else f"{value} without quotes"
        if text in ("any", "default"):
            return cls(text)
        match = _VERSION.fullmatch(text)
        if not match:
            raise ValueError(f"expected any, default, '1.5' or '>= 1.5'; got '{text}'")
        return cls(text, match[1] or "==", _numbers(match[2]))

    def holds(self, version: str, default: str | None) -> bool | Ok:
        """Whether an installed version is good; it cannot tell where there is nothing to compare."""
        if self.text == "any":
            return True
        if self.text == "default":
            return Ok.CANNOT_TELL if default is None else version == default
        numbers = _numbers(version)
        return _COMPARE[self.sign](numbers, self.numbers) if numbers else Ok.CANNOT_TELL

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """How pydantic reads and writes it: as its text."""
        return text_schema(cls, cls.parse)


@dataclass(frozen=True, slots=True)
class _Extension:
    name: str
    version: str | None
    schema: str | None
    default: str | None


class Extensions(Parameters):
    """The extensions of a database; the denominator is the extensions looked at.

    ```yaml
    extensions:
      database: app
      expect: {pg_stat_statements: ">= 1.9", pgcrypto: any, postgis: default}
      allowed: [pg_*]
    ```
    """

    kind: ClassVar[str] = "extensions"
    shorthand: ClassVar[str] = "expect"

    expect: dict[str, Version] = Field(default_factory=dict)
    """By name: `any` version, the server's `default`, one version such as `"1.5"`, or a bound such as `">= 1.5"`."""
    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    allowed: list[str] | None = None
    """Patterns of all others that may be there, such as `pg_*`; `[]` allows none, and without it any may be there."""
    up_to_date: bool = Field(default=False, strict=True)
    """Whether every extension must have the version that the server's package brings."""
    not_in: list[str] = Field(default_factory=list)
    """Schemas that may hold no extension, such as `public`."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many extensions there must be at least."""

    @model_validator(mode="after")
    def _something(self) -> Extensions:
        if not self.expect and self.allowed is None and not (self.up_to_date or self.not_in or self.least > 1):
            raise ValueError("expected `expect`, `allowed`, `up_to_date`, `not_in` or `least`: nothing is asked for")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Read what is installed, and what the server could install."""
        with connect(context, self.database) as connection:
            rows = connection.execute(_EXTENSIONS, [list(self.expect)]).fetchall()
        known = {row[0]: _Extension(*row) for row in rows}
        installed = [each for each in known.values() if each.version is not None]
        context.attach("extensions.txt", "text/plain", _evidence(installed))
        for name, wanted in self.expect.items():
            yield _compare(wanted, known.get(name, _Extension(name, None, None, None)))
        faults = [list(self._faults(each)) for each in installed]
        yield from (fault for several in faults for fault in several)
        if good := faults.count([]):
            yield find("extensions in order", expected=self._wanted(), actual=f"{good} of {len(installed)}", ok=True)
        yield counted("extensions", len(installed), self.least)

    def _wanted(self) -> str:
        words = [
            "allowed" if self.allowed is not None else "",
            "up to date" if self.up_to_date else "",
            f"not in {', '.join(self.not_in)}" if self.not_in else "",
        ]
        return ", ".join(filter(None, words)) or "any"

    def _faults(self, each: _Extension) -> Iterator[Finding]:
        name = f"extension {each.name}"
        if self._refuses(each.name):
            mend = f"drop extension {quoted(each.name)}, or put it into `allowed`"
            yield find(name, expected="not there", actual=f"{each.version} in {each.schema} ({mend})", ok=False)
        if each.schema in self.not_in:
            mend = f"alter extension {quoted(each.name)} set schema ..."
            yield find(name, expected=f"not in schema {each.schema}", actual=f"there ({mend})", ok=False)
        if self.up_to_date and each.name not in self.expect:
            good = Version("default").holds(str(each.version), each.default)
            if good is not True:
                yield find(name, expected=each.default or "the server's version", actual=_shown(each), ok=good)

    def _refuses(self, name: str) -> bool:
        patterns = [*(self.allowed or ()), *self.expect, _ALWAYS]
        return self.allowed is not None and not any(fnmatchcase(name, pattern) for pattern in patterns)


def _compare(wanted: Version, each: _Extension) -> Finding:
    name = f"extension {each.name}"
    if each.version is None:
        mend = f"create extension {quoted(each.name)}" if each.default else "the server lacks its package"
        return find(name, expected=wanted, actual=f"not installed ({mend})", ok=False)
    good = wanted.holds(each.version, each.default)
    expected = f"default, {each.default}" if wanted.text == "default" and each.default else wanted
    return find(name, expected=expected, actual=_shown(each) if good is not True else each.version, ok=good)


def _shown(each: _Extension) -> str:
    """The version, and what would change it."""
    if each.default is None:
        return f"{each.version}, and the server lacks its package"
    newer = each.version != each.default
    return f"{each.version}{f' (alter extension {quoted(each.name)} update brings {each.default})' if newer else ''}"


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version starts with; 1.5.0 counts as 1.5."""
    match = _NUMBERS.match(version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _evidence(installed: Sequence[_Extension]) -> bytes:
    rows = ((each.name, each.version, each.schema, each.default or "-") for each in installed)
    return aligned(("extension", "version", "schema", "the server's version"), rows)
