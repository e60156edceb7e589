"""With what a flow may pay: where payments are live, only with a method that is declared for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Ok

if TYPE_CHECKING:
    from pytest_releasegate.check import Context
    from pytest_releasegate.hooks.fixtures import Finder

__all__ = ["payment_method"]

_MODES = ("live", "test")


def payment_method(context: Context, finding: Finder, otherwise: str) -> str:
    """The environment's `payment_method`, else `otherwise` in test mode; else the test ends here, inconclusive."""
    mode = _mode(context)
    declared = context.resolve(context.environment.values.get("payment_method", "")).strip()
    told = f"{mode} mode, {'one is declared' if declared else 'none is declared'}"
    ok = Ok.YES if declared or mode == "test" else Ok.CANNOT_TELL
    finding("payment method", expected="one for tests, or test mode", actual=told, ok=ok)
    if ok is Ok.CANNOT_TELL:
        pytest.skip(_none_declared(context.environment.name))
    return declared or otherwise


def _none_declared(name: str) -> str:
    return (
        f"payments are live on the environment '{name}', and no method to pay with in tests is declared: nothing was"
        " paid. Declare `payment_method` under its `values:` in environments.yaml, or `payment_mode: test`"
    )


def _mode(context: Context) -> str:
    """`live` or `test`: the value `payment_mode` of the environment, else `live` where it is protected."""
    environment = context.environment
    said = environment.values.get("payment_mode", "")
    if not said:
        return "live" if environment.protected else "test"
    mode = context.resolve(said, secret=False)
    if mode not in _MODES:
        what = f"payment_mode of the environment '{environment.name}': expected live or test, got {mode}"
        raise CannotLook(what, "it is one of its `values:` in environments.yaml")
    return mode
