"""One release of the demo, played from its last version to its verdict, with the commands a person would type."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import yaml

from pytest_releasegate.checklist.loader import load
from pytest_releasegate.errors import ExitCode
from pytest_releasegate.model import Phase
from pytest_releasegate.verdict import EXIT_CODES
from releasegate_demo import control
from releasegate_demo.people import SIGNERS, allowed_signers, make_keys
from releasegate_demo.product import INCIDENT, NEW, OLD, make_product
from releasegate_demo.words import words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["BEFORE_DEPLOYMENT", "WITHHELD", "play"]

BEFORE_DEPLOYMENT = frozenset({"log", "guards", "mail"})
"""The breaks that are there before the release goes out; the others come with it."""

WITHHELD = {
    "word": "nobody says that the contact numbers were called (1.3.4)",
    "signature": "the security lead does not sign",
}
"""What people leave out in a play; nothing of the target is broken."""

FACTS = (
    "maintenance=false",
    "billing_changes=true",
    "edge_functions=false",
    "backfill=true",
    "survey=false",
    "payments=true",
    "replication=false",
)
EVIDENCE = ("1.3.4", "6.3.2", "6.3.4", "C1.2.1", "11.3.1")
"""The gates to whose words there is a file in `evidence/`."""
_WORDS = {code.value: decision.value for decision, code in EXIT_CODES.items()}
_BATCH_PAUSE = 0.5
_VISIT_SECONDS = 30.0
_VISITS_A_SECOND = 15.0
_VISITORS = 20


@dataclass
class Stage:
    """The folder of the product, and the variables that its gates read."""

    folder: Path
    variables: dict[str, str]
    keys: dict[str, Path]
    number: int = 0

    def say(self, text: str) -> None:
        """Announce a step."""
        self.number += 1
        bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ("", "")
        sys.stdout.write(f"\n{bold}{self.number}. {text}{plain}\n")
        sys.stdout.flush()

    def call(self, program: str, *words: str, quiet: bool = False) -> int:
        """Show a command as a person types it, run it, and give its exit code."""
        sys.stdout.write(f"$ {shlex.join([program, *words])}\n")
        sys.stdout.flush()
        module = {"pytest": "pytest", "releasegate": "pytest_releasegate.cli"}[program]
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.folder,
            env={**os.environ, **self.variables},
            stdout=subprocess.DEVNULL if quiet else None,
            check=False,
        )
        return done.returncode


def play(state: Path, broken: str = "", keep: bool = False) -> int:
    """Play the release; ends with the exit code of the worst phase, 0 for GO. `keep` leaves the demo running."""
    folder = state / "product"
    control.down(state / "running")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(state / "keys", ignore_errors=True)
    keys = make_keys(state / "keys")
    commits = make_product(folder, allowed_signers(keys))
    try:
        info = control.up(state / "running", OLD, commits[OLD])
        stage = Stage(folder, info.environment(), keys)
        with _visitors(state / "running"):
            return _play(stage, state / "running", commits, broken)
    finally:
        if not keep:
            control.down(state / "running")


def _play(stage: Stage, running: Path, commits: dict[str, str], broken: str) -> int:
    commit = commits[NEW]
    stage.say(f"Measure {OLD}, which is live: the baseline")
    facts = [word for fact in FACTS for word in ("--fact", fact)]
    stage.call("releasegate", "open", OLD, *facts)
    stage.call("pytest", "-m", "baseline", "--release", OLD, "-q")
    if broken in BEFORE_DEPLOYMENT:
        _break(stage, running, broken)
    stage.say(f"Open {NEW}; people say what only they can know")
    stage.call("releasegate", "open", NEW, "--commit", commit, *facts)
    _attest(stage, "before the deployment", Phase.PREDEPLOY, Phase.COMPLIANCE, left_out=broken)
    stage.say("T-24h: is it ready?")
    stage.call("pytest", "-m", "predeploy or compliance")
    stage.say("Five stakeholders sign what was seen")
    _sign(stage, broken)
    if _worst(stage, "predeploy", "compliance"):
        stage.say("It does not go out")
        return _end(stage)
    stage.say("T-0, before: is the target well, and what does it hold?")
    sys.stdout.write(f"backup: {control.back_up(running, 'final').name}\n")
    _attest(stage, "at the deployment", Phase.DEPLOY, step="before")
    stage.call("pytest", "-m", "deploy")
    stage.say(f"Migrate the database, deploy {NEW}")
    sys.stdout.write(f"applied: {', '.join(control.migrate(running))}\n")
    control.deploy(running, NEW, commit)
    if broken and broken not in {*BEFORE_DEPLOYMENT, *WITHHELD}:
        _break(stage, running, broken)
    stage.call("releasegate", "deployed")
    _attest(stage, "after the deployment", Phase.DEPLOY, Phase.POSTDEPLOY, Phase.REVIEW)
    stage.say("T-0, after: did it arrive whole?")
    stage.call("pytest", "-m", "deploy", "-n", "2")
    stage.say("Walk through it as its users do")
    stage.call("pytest", "-m", "smoke", "--base-url=demo", "-n", "2")
    stage.say("T+15m, here some seconds: GO or ROLLBACK?")
    if stage.call("pytest", "-m", "postdeploy", "-n", "2") == ExitCode.ROLLBACK:
        return _roll_back(stage, running, commits[OLD])
    stage.say("Is the review on its way?")
    stage.call("pytest", "-m", "review", "-q")
    stage.say("Older rows get their new columns: before, during and after the backfill")
    _attest(stage, "at the backfill", Phase.BACKFILL)
    stage.call("pytest", "-m", "backfill", "-q")
    filling = threading.Thread(target=control.backfill, args=(running, _BATCH_PAUSE), name="backfill")
    filling.start()
    stage.call("pytest", "-m", "backfill", "-q")
    filling.join()
    stage.call("pytest", "-m", "backfill", "-q")
    stage.say("And tomorrow, at T+24h: what must people say?")
    tomorrow = datetime.now(UTC) + timedelta(hours=25)
    stage.call("releasegate", "todo", "--as-of", tomorrow.isoformat(timespec="seconds"))
    return _end(stage)


def _roll_back(stage: Stage, running: Path, commit: str) -> int:
    """Back to the version before, through the steps of its phase: decide, execute, verify."""
    stage.say(f"Decide: back to {OLD}?")
    stage.call("releasegate", "fact", "rollback_database=true")
    _attest(stage, "at the decision", Phase.ROLLBACK, step="decide")
    stage.call("pytest", "-m", "rollback", "-q")
    stage.say(f"Execute: revert the migration, deploy {OLD}; what came with {NEW} goes with it")
    sys.stdout.write(f"backup: {control.back_up(running, 'rollback').name}\n")
    control.heal(running)
    sys.stdout.write(f"reverted: {', '.join(control.migrate(running, 'down'))}\n")
    control.deploy(running, OLD, commit)
    stage.call("releasegate", "rollback", "--reason", f"a trigger of T+15m fired in {NEW}")
    incident = stage.folder / "docs" / "incidents" / f"{NEW}.md"
    incident.parent.mkdir()
    incident.write_text(INCIDENT, encoding="utf-8")
    _attest(stage, "after going back", Phase.ROLLBACK)
    stage.call("pytest", "-m", "rollback", "-q")
    stage.say("Verify: is it well again?")
    stage.call("pytest", "-m", "rollback", "-q")
    return _end(stage)


def _end(stage: Stage) -> int:
    stage.say("The record")
    stage.call("releasegate", "status")
    stage.call("releasegate", "report")
    stage.call("releasegate", "verify")
    code = _worst(stage, "predeploy", "compliance", "deploy", "postdeploy", "review", "backfill")
    kept = stage.folder / ".releasegate"
    stage.say(f"The verdict: {_WORDS.get(code, 'none')}")
    sys.stdout.write(f"record: {kept / 'record.db'}\nreport: {kept / 'report.html'}\n")
    return code


def _worst(stage: Stage, *phases: str) -> int:
    """The exit code of the worst of these phases, as the record knows them."""
    return stage.call("releasegate", "status", "--exit-code", *[f"--phase={phase}" for phase in phases], quiet=True)


def _attest(stage: Stage, when: str, *phases: Phase, step: str = "", left_out: str = "") -> None:
    """People say what only they can know: one file of attestations, as `saf attest` writes it."""
    checklist = load(stage.folder / "gates", stage.folder)
    gates = [declaration.gate for declaration in checklist.declarations if declaration.gate.phase in phases]
    said = words([gate for gate in gates if not step or gate.step == step], datetime.now(UTC))
    said = [word for word in said if left_out != "word" or word["control_id"] != "1.3.4"]
    for word in said:
        if word["control_id"] in EVIDENCE:
            word["evidence"] = f"{word['control_id']}.txt"
    path = stage.folder / "evidence" / f"said-{when.replace(' ', '-')}.yaml"
    path.write_text(yaml.safe_dump(said, sort_keys=False, allow_unicode=True), encoding="utf-8")
    stage.call("releasegate", "attest", "--file", str(path.relative_to(stage.folder)))


def _sign(stage: Stage, broken: str) -> None:
    for role, person in SIGNERS.items():
        if broken == "signature" and role == "security_lead":
            continue
        stage.call("releasegate", "sign", role, "--person", person, "--key", str(stage.keys[person]))


def _break(stage: Stage, running: Path, broken: str) -> None:
    stage.say(f"Break it: {control.BREAKS[broken].title}")
    control.make_break(running, broken)


@contextmanager
def _visitors(running: Path) -> Iterator[None]:
    """Synthetic visitors for as long as the release lasts; without them there is nothing to measure."""
    over = threading.Event()

    def walk() -> None:
        while not over.is_set():
            try:
                control.traffic(running, _VISIT_SECONDS, _VISITS_A_SECOND, _VISITORS, over)
            except (OSError, control.DemoError):
                over.wait(0.5)

    thread = threading.Thread(target=walk, name="visitors", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=10)
