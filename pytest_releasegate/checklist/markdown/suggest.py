"""Which check might look at a line in place of a person, by its words; and which role a person would have."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_releasegate.checks import kinds

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RULES", "role_name", "role_of", "suggestion"]

RULES: tuple[tuple[str, str], ...] = (
    (
        r"health ?-?(?:check )?(?:endpoint|url|page|route)|\bhealth-?checks?\b|/healthz?\b|\bping endpoint",
        "http: {url: /healthz, status: 200}",
    ),
    (r"\brow counts?\b|no data loss|record counts?", "row_counts: {database: app, default: unchanged}"),
    (r"foreign keys?|referential integrity", "foreign_keys: {database: app}"),
    (r"\borphan(?:ed)? (?:records?|rows?)", "orphans: {database: app}"),
    (
        r"\bindex(?:es)? (?:are |is |were |was )?(?:created|present|valid|in place)|\binvalid index",
        "indexes: {database: app}",
    ),
    (r"\bsequences? .*exhaust\w*|\bexhaust\w* .*sequences?|\bid exhaustion", "sequences: {database: app}"),
    (r"\bdead (?:tuples|rows)\b|\b(?:table|index) bloat|\bwraparound\b|\bvacuum", "bloat: {database: app}"),
    (
        r"\btls\b|\bssl\b|\bhttps\b|certificates?\b|encryption in transit|data in transit",
        'tls: {endpoints: ["app.example.com:443"], min_days: 30}',
    ),
    (r"\brls\b|row[- ]level security", "rls: {personas: {anon: {role: anon}}, expect: {clients: {anon: denied}}}"),
    (
        r"\bload test|\bstress test|\bcapacity (?:test|limit)|\bload scenarios?",
        "load: {run: {scenario: Visitor, users: 10, run_time: 60s}}",
    ),
    (r"error rates?|\b5xx\b|\berrors? (?:below|under|within)", 'metrics: {watch: 15m, error_rate: "<= 1%"}'),
    (r"response times?|latenc(?:y|ies)|\bp9[59]\b", 'metrics: {watch: 15m, p95: "<= 500ms"}'),
    (
        r"smoke tests?|\be2e\b|end-to-end|user flows?|critical (?:flows?|paths?)|can (?:log ?in|sign ?in)|\blogin\b",
        "test: smoke/test_flow.py",
    ),
    (
        r"\bgit tag\b|\btag(?:ged)?\b.*\b(?:version|release|commit)|\b(?:version|release) tag|"
        r"\btag (?:the |a )?(?:version|release)|pushed to .*branch",
        'git: {tag: "v${release.version}", branch: main}',
    ),
    (r"release notes?|change ?log", "document: {path: CHANGELOG.md}"),
    (r"(?:documented|documentation|runbook|\breadme\b|\bdocs?\b)", "document: {path: docs/runbook.md}"),
    (
        r"\bdatabase connect(?:ion|ivity)|\bdb connect|"
        r"\bmigrations? (?:table|applied|ran|run)|\bsql\b|\bnull values?",
        'sql: {database: app, query: select count(*) from clients, expect: ">= 1"}',
    ),
    (
        r"(?:home ?page|landing page|site|website|url|endpoint|api|app(?:lication)?|service|dns|"
        r"domain)s? (?:is |are )?(?:up|live|reachable|responding|respond|accessible|loads?|"
        r"resolves?|healthy)",
        "http: {url: /, status: 200}",
    ),
    (r"baseline|pre-migration (?:counts?|snapshot)|\bsnapshot\b", "snapshot: {database: app}"),
)
"""Words, and the check that might look at a line with such words, as YAML; the first that fits counts."""
_COMPILED = tuple((re.compile(words, re.IGNORECASE), text) for words, text in RULES)

_ROLES: tuple[tuple[str, str], ...] = (
    (
        r"\bdba\b|database|migration|backup|\bsql\b|schema|replica|row count|foreign key|backfill",
        "database_administrator",
    ),
    (
        r"security|vulnerab|penetration|secrets?\b|credential|hipaa|gdpr|complian|access control|"
        r"encrypt|audit|\bphi\b|\bpii\b|\brls\b",
        "security_lead",
    ),
    (r"\bqa\b|\btests?\b|tested|testing|regression|flaky|accessib", "qa_lead"),
    (
        r"\bproduct owner\b|user-facing|\bux\b|business metric|adoption|satisfaction|marketing|press|\bblog\b",
        "product_owner",
    ),
    (
        r"monitor|alert|dashboard|on-call|\blogs?\b|logging|infrastructure|\bdns\b|\bcdn\b|scal(?:e|"
        r"ing)|load balanc|capacity",
        "operations_manager",
    ),
    (r"code review|peer-review|pull request|\bpr\b|build|compile|lint|dependenc", "engineering_lead"),
)
_COMPILED_ROLES = tuple((re.compile(words, re.IGNORECASE), role) for words, role in _ROLES)


@lru_cache(4096)
def suggestion(text: str) -> tuple[str, str]:
    """A check that might look at the line, as YAML, and the words that made it a guess; both empty without one."""
    known = set(kinds())
    return _first(text, lambda check: check.partition(":")[0] in known)


def _first(text: str, wanted: Callable[[str], bool]) -> tuple[str, str]:
    for pattern, check in _COMPILED:
        found = pattern.search(text)
        if found and wanted(check):
            return check, found[0]
    return "", ""


@lru_cache(4096)
def role_of(text: str) -> str:
    """The role whose word the line asks for, by its words; `release_manager` when they say nothing."""
    return next((role for words, role in _COMPILED_ROLES if words.search(text)), "release_manager")


def role_name(text: str) -> str:
    """A role's name as gate files write it, such as `security_lead`; empty when there are no such letters."""
    found = "_".join(re.findall(r"[a-z0-9]+", text.lower()))[:40].strip("_")
    return found if found[:1].isalpha() else ""
