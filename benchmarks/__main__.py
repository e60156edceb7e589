"""Runs every benchmark, or those named: `python -m benchmarks startup`; a number makes the database ones smaller."""

from __future__ import annotations

import sys
from importlib import import_module
from pkgutil import iter_modules

import benchmarks

NAMES = [module.name for module in iter_modules(benchmarks.__path__) if not module.name.startswith("_")]

if __name__ == "__main__":
    for name in [word for word in sys.argv[1:] if not word.isdecimal()] or NAMES:
        import_module(f"benchmarks.{name}").main()
