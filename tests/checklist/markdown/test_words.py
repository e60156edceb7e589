"""What words are taken for: checks, conditions, roles, phases and steps, ids."""

from __future__ import annotations

import pytest

from pytest_releasegate.checklist.markdown import suggest, words
from pytest_releasegate.checklist.markdown.conditions import condition
from pytest_releasegate.checklist.markdown.lines import source_of
from pytest_releasegate.checklist.markdown.phases import mark, phase_of, step_of
from pytest_releasegate.checklist.markdown.reading import read_checklist
from pytest_releasegate.checks import kinds
from pytest_releasegate.errors import BrokenPlan
from pytest_releasegate.phases import Phase


@pytest.mark.parametrize("check", [check for _, check in suggest.RULES], ids=lambda check: check.partition(":")[0])
def test_each_suggestion_loads_in_place_of_the_word(product, check):
    assert check.partition(":")[0] in kinds()
    product.write("smoke/test_flow.py", "")
    product.load(f"""
        phase: predeploy
        items:
          - item: "1"
            title: An item
            gates:
              - id: a
                title: A
                {check}
        """)


@pytest.mark.parametrize(
    ("text", "kind", "because"),
    [
        ("Health endpoint returns 200", "http", "Health endpoint"),
        ("Row counts match", "row_counts", "Row counts"),
        ("No orphaned records", "orphans", "orphaned records"),
        ("Foreign keys intact", "foreign_keys", "Foreign keys"),
        ("Indexes created successfully", "indexes", "Indexes created"),
        ("No sequence near exhaustion", "sequences", "sequence near exhaustion"),
        ("Table bloat acceptable", "bloat", "Table bloat"),
        ("TLS certificate valid", "tls", "TLS"),
        ("Error rate under 1 %", "metrics", "Error rate"),
        ("Release notes written", "document", "Release notes"),
        ("Tag the release", "git", "Tag the release"),
        ("Smoke tests pass", "test", "Smoke tests"),
        ("Team lunch", "", ""),
    ],
)
def test_suggestions_come_with_the_words_that_made_them(text, kind, because):
    check, found = suggest.suggestion(text)
    assert (check.partition(":")[0], found) == (kind, because)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Process payment (if billing changes)", "billing_changes"),
        ("SAST scan completed (if applicable)", "sast_scan"),
        ("If the schema changes, run the migration", "schema_changes"),
        ("Notify partners, unless hotfix", "not hotfix"),
        ("Skip the freeze (skip if hotfix)", "not hotfix"),
        ("Load test (for major releases only)", "major_releases"),
        ("Warm the cache (only if using Redis)", "redis"),
        ("Call somebody if it fails", ""),
        ("Check (see the wiki)", ""),
        ("Check for errors", ""),
    ],
)
def test_conditions_are_facts(text, expected):
    assert condition(text) == expected


@pytest.mark.parametrize(
    ("path", "phase"),
    [
        (["Checklist", "Pre-Release Phase (T-24 Hours)", "Compliance & Documentation"], Phase.PREDEPLOY),
        (["Deployment Phase (T-0)", "Post-Deployment Verification"], Phase.DEPLOY),
        (["Deployment", "Post-Deployment Verification"], Phase.POSTDEPLOY),
        (["24-Hour Post-Release (T+24 Hours)", "Post-Release Review"], Phase.REVIEW),
        (["After going live"], Phase.POSTDEPLOY),
        (["Before you deploy"], Phase.PREDEPLOY),
        (["Day 1"], Phase.DAY1),
        (["D+1"], Phase.DAY1),
        (["T+15 minutes"], Phase.POSTDEPLOY),
        (["Back-out plan"], Phase.ROLLBACK),
        (["Backfill"], Phase.BACKFILL),
        (["GDPR"], Phase.COMPLIANCE),
        (["Post-mortem"], Phase.REVIEW),
        (["Release notes"], None),
        (["Database"], None),
    ],
)
def test_phases_of_headings(path, phase):
    timing = phase_of(path)
    assert (timing.phase if timing else None) == phase


def test_a_documents_title_says_no_deployment():
    assert phase_of(["Deployment Checklist", "Database"], titled=True) is None


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("T-24h", -1440), ("T+15 minutes", 15), ("T+2", 120), ("D-1", -1440), ("T-0", 0), ("UTC", None)],
)
def test_clocks(text, minutes):
    assert mark(text) == minutes


@pytest.mark.parametrize(
    ("phase", "path", "item", "step"),
    [
        (Phase.DEPLOY, ["Deployment", "Database"], "Pre-migration checks", "before"),
        (Phase.DEPLOY, ["Deployment", "Post-deployment"], "Deploy", "after"),
        (Phase.DEPLOY, ["Deployment"], "Push the image", "migrate"),
        (Phase.ROLLBACK, ["Rollback", "Execute"], "Previous version deployed", "execute"),
        (Phase.ROLLBACK, ["Rollback"], "Decision made", "decide"),
        (Phase.PREDEPLOY, ["Before"], "x", ""),
    ],
)
def test_steps(phase, path, item, step):
    assert step_of(phase, path, item) == step


def test_ids_stay_where_lines_are_added_and_differ_where_words_are_the_same():
    def ids(text):
        return {entry.title: entry.id for entry in read_checklist(source_of(text, "x.md")).each()}

    before = ids("## Data\n\n- [ ] Backups restored\n- [ ] Schema checked\n")
    after = ids("## Data\n\n- [ ] Something new\n- [ ] Schema checked\n- [ ] Backups restored\n")
    assert before.items() <= after.items()
    reading = read_checklist(source_of("## A\n\n- [ ] x y\n- [ ] x y\n\n## B\n\n- [ ] x y\n", "x.md"))
    assert [entry.id for entry in reading.entries] == ["a.x-y", "a.x-y-2", "b.x-y"]


def test_names_are_made_of_letters_whatever_the_script():
    assert words.slug("Größe prüfen") == "groe-prufen"
    assert words.slug("部署前检查") == words.slug("部署前检查") != words.slug("部署后检查")
    assert words.fact("2FA enabled") == "is_2fa"


@pytest.mark.parametrize(
    "text", ["words only\n", "```\n- [ ] a\n```\n", "<!-- - [ ] a -->\n", "---\na: 1\n---\n", "# A\n"]
)
def test_nothing_to_check_is_refused_with_its_place(text):
    with pytest.raises(BrokenPlan) as broken:
        read_checklist(source_of(text, "x.md")).refuse_nothing()
    assert str(broken.value).startswith("x.md:1:1: nothing to check")
