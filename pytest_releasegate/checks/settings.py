"""`settings`: the database server is set as the release needs it, for every role that uses it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters, Threshold
from pytest_releasegate.sources.pgsettings import amount, settings
from pytest_releasegate.sources.pgtables import aligned
from pytest_releasegate.sources.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.pgsettings import Override, Setting

__all__ = ["Settings"]

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
_COMPARISON = re.compile(r"(<=|>=|==|!=|<|>)\s*(\S.*)")
_INCLUDES = "includes "


class Settings(Parameters):
    """The settings of a database server, by role too; the denominator is the settings compared.

    ```yaml
    settings:
      database: app
      expect:
        wal_level: logical
        max_connections: ">= 100"
        statement_timeout: "<= 30s"
        password_encryption: scram-sha-256
        shared_preload_libraries: includes pg_stat_statements
    ```
    """

    kind: ClassVar[str] = "settings"
    shorthand: ClassVar[str] = "expect"

    expect: dict[str, Scalar | list[Scalar]] = Field(min_length=1)
    """By name: a value (`64MB`, `on`, `logical`), a bound (`">= 64MB"`, `"!= md5"`), `includes NAME`, or a list of
    which one must hold; a number without a unit counts in the setting's own, and what is off keeps no upper bound."""
    database: str = ""
    """The environment's database; by default the only one, or `app`."""
    role: str = ""
    """Whose values count: those that this role gets when it connects; by default what no role changes, and no role may
    have others."""
    ignore_roles: list[str] = Field(default_factory=list)
    """Patterns of roles that may have other values, such as `backup_*`; the role that looks always may."""
    restart: bool = Field(default=False, strict=True)
    """Whether settings may have been changed that wait for a restart."""
    least: int = Field(default=1, ge=1, strict=True)
    """How many settings must be compared at least."""

    @field_validator("expect")
    @classmethod
    def _readable(cls, expect: dict[str, Scalar | list[Scalar]]) -> dict[str, Scalar | list[Scalar]]:
        for name, wanted in expect.items():
            for each in _several(wanted):
                match = _COMPARISON.fullmatch(each)
                if match and match[1] not in ("!=", "=="):
                    amount(match[2])
                elif not each or (not match and each[0] in "<>=!"):
                    raise ValueError(f"{name}: expected a value or a bound such as '>= 64MB', got '{each}'")
        return expect

    def look(self, context: Context) -> Iterator[Finding]:
        """Read the settings, and compare."""
        with connect(context, self.database) as connection:
            found, overrides, waiting = settings(connection, list(self.expect), self.role)
        others = [] if self.role else [each for each in overrides if not self._ignores(each.role)]
        context.attach("settings.txt", "text/plain", self._evidence(found, others))
        for name, wanted in self.expect.items():
            yield _compare(name, found[name], _several(wanted))
            mine = [each for each in others if each.name.lower() == found[name].name]
            yield from _compare_overrides(name, found[name], _several(wanted), mine)
        if not self.restart:
            for name in waiting:
                yield find(name, expected="in force", actual="changed, and waits for a restart", ok=False)
        yield counted("settings", sum(setting.known for setting in found.values()), self.least)

    def _ignores(self, role: str) -> bool:
        return any(fnmatchcase(role, pattern) for pattern in self.ignore_roles)

    def _evidence(self, found: Mapping[str, Setting], overrides: Sequence[Override]) -> bytes:
        rows = [(name, _shown(found[name]), " or ".join(_several(wanted)), "") for name, wanted in self.expect.items()]
        rows += [(each.name, each.value, "", str(each)) for each in overrides]
        return aligned(("setting", "value", "expected", "for"), rows)


def _compare(name: str, setting: Setting, wanted: Sequence[str]) -> Finding:
    expected = " or ".join(wanted)
    if not setting.known:
        actual = "not known: the role that looks has a value of its own, which hides the server's"
        return find(name, expected=expected, actual=actual, ok=Ok.CANNOT_TELL)
    if setting.value is None:
        return find(name, expected=expected, actual="not set; is the module loaded that knows it?", ok=False)
    return find(name, expected=expected, actual=_shown(setting), ok=_fits(setting, setting.value, wanted))


def _compare_overrides(
    name: str, setting: Setting, wanted: Sequence[str], overrides: Sequence[Override]
) -> Iterator[Finding]:
    for each in overrides:
        if not _fits(setting, each.value, wanted):
            actual = f"{setting.shown(each.value)} (alter role ... reset {name}, or put it into `ignore_roles`)"
            yield find(f"{name} for {each}", expected=" or ".join(wanted), actual=actual, ok=False)


def _fits(setting: Setting, value: str, wanted: Sequence[str]) -> bool:
    """Whether one of the expectations holds; raises `CannotLook` where one makes no sense for the setting."""
    try:
        held = [_holds(setting, value, each) for each in wanted]
    except ValueError as error:
        raise CannotLook(f"setting '{setting.name}': {error}", "correct `expect` of the gate") from None
    return any(held)


def _holds(setting: Setting, value: str, wanted: str) -> bool:
    if wanted.startswith(_INCLUDES):
        parts = [part.strip().strip('"') for part in value.split(",")]
        return wanted.removeprefix(_INCLUDES).strip() in parts
    match = _COMPARISON.fullmatch(wanted)
    if not match:
        return setting.same(value, wanted)
    sign, limit = match.groups()
    if sign in ("==", "!="):
        return setting.same(value, limit) == (sign == "==")
    bound = Threshold(sign, setting.number(limit), wanted)
    return bound.holds(setting.number(value)) and not (sign[0] == "<" and setting.endless(value))


def _shown(setting: Setting) -> str:
    if setting.value is None or not setting.known:
        return "not set" if setting.known else "not known"
    return setting.shown(setting.value) or "empty"


def _several(wanted: Scalar | list[Scalar]) -> list[str]:
    """The alternatives as texts; YAML reads `on` and `off` as true and false."""
    words = {True: "on", False: "off"}
    alternatives = wanted if isinstance(wanted, list) else [wanted]
    return [words[each] if isinstance(each, bool) else str(each) for each in alternatives]
