"""The demo's product: a git repository with the gates, two tagged versions and their release notes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from pytest_releasegate.checklist.reference import FOLDERS, reference

__all__ = ["INCIDENT", "NEW", "OLD", "make_product"]

OLD, NEW = "1.3.0", "1.4.0"

NOTES = {
    OLD: """# Release 1.3.0

## What is new
Appointments have a mode: in person, by video or by phone. The schedule shows it beside the client's name.

## Known issues
The printed schedule does not show the mode yet.

## Breaking changes
None for users; the appointment export has one more column.

## What you have to do
Nothing.
""",
    NEW: """# Release 1.4.0

## What is new
Clients can have a preferred name, which is shown wherever their name is. Charts have care plans with a goal and a
review date, and 120 billing codes for care planning were added.

## Known issues
Care plans cannot be printed yet; use the export.

## Breaking changes
None for users; reports that list all billing codes become longer.

## What you have to do
Ask clients for the name they prefer when you next see them.
""",
}

EVIDENCE = {
    "1.3.4": "Called: on-call engineer, backup, database administrator, security lead. All answered.",
    "6.3.2": "db-1, db-2, db-backup: volume encryption on, keys rotated 41 days ago.",
    "6.3.4": "31 members of staff, 3 administrators; two accounts of people who left were closed.",
    "C1.2.1": "db-1, db-2, db-backup: volume encryption on, keys rotated 41 days ago.",
    "11.3.1": "Inbox: 2 questions about passwords. Phone: no calls.",
}

BACKFILL = """# Backfill of the preferred names

## Batch size
200 rows a batch, at least two batches a minute; the table has 2,000 rows of before 1.4.0.

## Execution order
Clients by their ids; nothing else is read from their preferred names.

## Rollback plan
The column may be null at any time; to go back is to set it to null where it equals the first name.
"""

BACKFILL_SQL = """update public.appointments set mode = 'in_person'
where id in (select id from public.appointments where mode is null order by id limit 500);
"""

INCIDENT = """# Incident of release 1.4.0

## Root cause
What fired within fifteen minutes of the deployment came with the release itself: it was not there before, and it went
away with it. The change is found in the release's diff and gets a test that fails without its mend.
"""

SETTINGS = """[pytest]
addopts = --import-mode=importlib --strict-markers
releasegate_env = demo
"""


def make_product(folder: Path, signers: str = "") -> dict[str, str]:
    """Make the repository in a folder that is not there yet; gives the commit of each version.

    `signers` is the text of its allowed signers file.
    """
    folder.mkdir(parents=True)
    for name in FOLDERS:
        shutil.copytree(reference() / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    shutil.copytree(Path(__file__).parent / "migrations", folder / "migrations")
    (folder / "pytest.ini").write_text(SETTINGS, encoding="utf-8")
    (folder / ".gitignore").write_text(
        ".releasegate/\nevidence/said-*\n__pycache__/\n.pytest_cache/\ntest-results/\n", encoding="utf-8"
    )
    if signers:
        (folder / "gates" / "allowed_signers").write_text(signers, encoding="utf-8")
    (folder / "evidence").mkdir()
    for gate, text in EVIDENCE.items():
        (folder / "evidence" / f"{gate}.txt").write_text(text + "\n", encoding="utf-8")
    (folder / "docs").mkdir()
    (folder / "docs" / "backfill-plan.md").write_text(BACKFILL, encoding="utf-8")
    (folder / "docs" / "backfill.sql").write_text(BACKFILL_SQL, encoding="utf-8")
    _git(folder, "init", "--quiet", "--initial-branch=main")
    return {version: _commit(folder, version) for version in (OLD, NEW)}


def _commit(folder: Path, version: str) -> str:
    (folder / "RELEASE_NOTES.md").write_text(NOTES[version], encoding="utf-8")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", f"Release {version}")
    _git(folder, "tag", "--annotate", f"v{version}", "--message", f"Release {version}")
    return _git(folder, "rev-parse", "HEAD")


def _git(folder: Path, *words: str) -> str:
    """Run git with an identity of its own, whatever the machine's settings are."""
    identity = ["-c", "user.name=Demo", "-c", "user.email=demo@ehr.example", "-c", "commit.gpgsign=false"]
    identity += ["-c", "tag.gpgsign=false", "-c", "core.hooksPath=/dev/null"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words],
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
