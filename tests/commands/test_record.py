"""`releasegate record`: two CI jobs and a laptop end with one record, by a folder and by git, at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Product

if TYPE_CHECKING:
    from pathlib import Path

REF = "refs/releasegate/record"
DATES = {
    f"GIT_{role}_{name}": text
    for role in ("AUTHOR", "COMMITTER")
    for name, text in {"NAME": "ann", "EMAIL": "a@x"}.items()
}
GATES = (
    "id: a, title: A, severity: critical, document: NOTES.md",
    "id: b, title: B, severity: high, document: NOTES.md",
    "id: c, title: C, severity: medium, attest: {role: dba}",
)


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=True, env=os.environ | DATES)


def cloned(origin: Path, name: str) -> Product:
    git(origin.parent, "clone", "-q", str(origin), name)
    product = Product.__new__(Product)
    product.root = origin.parent / name
    return product


@pytest.fixture
def places(product: Product, tmp_path: Path) -> list[Product]:
    """A product in a bare repository, and three clones of it: two CI jobs and a laptop."""
    product.gates("predeploy", *GATES)
    product.write(".gitignore", ".releasegate/\n")
    git(tmp_path, "init", "-q", "--bare", "origin.git")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "all"), ("push", "-q", "../origin.git", "HEAD:main")):
        git(product.root, *words)
    git(tmp_path / "origin.git", "symbolic-ref", "HEAD", "refs/heads/main")
    return [cloned(tmp_path / "origin.git", name) for name in ("ci-1", "ci-2", "laptop")]


def at_once(places: list[Product], *words: str) -> list[str]:
    """The same command in all places at the same time; all succeed."""
    command = [sys.executable, "-m", "pytest_releasegate.cli", *words]
    running = [
        subprocess.Popen(command, cwd=place.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for place in places
    ]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    return said


def standing(place: Product) -> Any:
    """What the report says of the release, but for the numbers of rows."""
    document = json.loads(place.releasegate("report", "--format", "json", "--output", "-").out)

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: bare(each) for name, each in value.items() if name not in {"id", "run"}}
        return [bare(each) for each in value] if isinstance(value, list) else value

    return {name: bare(document[name]) for name in ("release", "phases", "gates")}


@pytest.mark.parametrize("bundle", ["../bundle", REF])
def test_three_records_become_one(bundle: str, places: list[Product]) -> None:
    one, two, laptop = places
    assert one.pytest("-m", "predeploy and critical").code == 0
    assert two.pytest("-m", "predeploy and high").code == 0
    laptop.releasegate("open", "1.4.0", "--fact", "maintenance=false")
    laptop.releasegate("attest", "c", "--status", "passed", "--person", "dba@x")
    assert [place.releasegate("status", "--exit-code").code for place in places] == [10, 10, 10]
    pushed = at_once(places, "record", "push", bundle)
    assert all("1 openings of releases" in said for said in pushed)
    pulled = at_once(places, "record", "pull", bundle)
    assert all("2 openings of releases" in said for said in pulled)
    assert [place.releasegate("status", "--exit-code").code for place in places] == [0, 0, 0]
    assert standing(one) == standing(two) == standing(laptop)
    assert [place.releasegate("verify").code for place in places] == [0, 0, 0]
    for action in ("pull", "push"):
        assert all(place.releasegate("record", action, bundle).has("nothing new") for place in places)


def test_a_failure_that_another_job_saw_is_no_go_everywhere(places: list[Product]) -> None:
    one, two, laptop = places
    two.write("NOTES.md", "")
    assert one.pytest("-m", "predeploy and high").code == 0
    assert two.pytest("-m", "predeploy and high").code == 1
    for place in (one, two):
        assert place.releasegate("record", "push", "../bundle").code == 0
    for place in (one, two, laptop):
        assert place.releasegate("record", "pull", "../bundle").code == 0
    assert [place.releasegate("status", "--exit-code").code for place in places] == [1, 1, 1]


def signing(root: Path) -> Path:
    """Lets one manager sign the phase; gives the manager's key."""
    key = root.parent / "manager"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=60)
    files = {
        "gates/stakeholders.yaml": "roles:\n  manager: {title: Manager, people: [ann@x]}\n",
        "gates/allowed_signers": f"ann@x {key.with_suffix('.pub').read_text()}",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    return key


def test_a_signature_counts_in_every_record_and_a_changed_file_in_none(places: list[Product], tmp_path: Path) -> None:
    one, two, _ = places
    signed = (GATES[0], "id: S1, title: Manager, sign_off: manager")
    key = signing(one.root)
    for name in ("gates/stakeholders.yaml", "gates/allowed_signers"):
        two.write(name, (one.root / name).read_text())
    for place in (one, two):
        place.gates("predeploy", *signed)
    assert one.pytest("-m", "predeploy").code == 10
    assert one.releasegate("record", "push", "../bundle").code == 0
    assert two.releasegate("record", "pull", "../bundle").code == 0
    ran = two.releasegate("sign", "manager", "--person", "ann@x", "--key", str(key))
    assert (ran.code, ran.has("signs as manager with SHA256:")) == (0, True), ran.out
    assert two.releasegate("record", "push", "../bundle").code == 0
    assert one.releasegate("record", "pull", "../bundle").has("1 claims")
    assert [place.releasegate("status", "--exit-code").code for place in (one, two)] == [0, 0]
    (file,) = [
        path for path in (tmp_path / "bundle" / "blobs").iterdir() if b"BEGIN SSH SIGNATURE" in path.read_bytes()
    ]
    file.write_bytes(file.read_bytes().replace(b"ann@x", b"bob@x"))
    ran = one.releasegate("record", "pull", "../bundle", "--record", f"sqlite:///{tmp_path}/new.db")
    assert (ran.code, ran.has("its content is not what the digest in its name says")) == (4, True)


def test_other_gates_are_refused_with_what_to_do(places: list[Product]) -> None:
    one, two, _ = places
    one.pytest("-m", "predeploy and high")
    two.gates("predeploy", *GATES[:2])
    two.pytest("-m", "predeploy and high")
    assert one.releasegate("record", "push", "../bundle").code == 0
    for action in ("push", "pull"):
        ran = two.releasegate("record", action, "../bundle")
        assert (ran.code, ran.has("ehr 1.4.0/demo: its plan is", "releasegate replan --release 1.4.0 --env demo")) == (
            4,
            True,
        )
    two.gates("predeploy", *GATES)
    assert two.releasegate("replan", "--reason", "the gates of main").code == 0
    assert [two.releasegate("record", action, "../bundle").code for action in ("push", "pull")] == [0, 0]
    assert one.releasegate("record", "pull", "../bundle").code == 0
    assert standing(one) == standing(two)


def test_mistakes_are_told(places: list[Product], tmp_path: Path) -> None:
    one = places[0]
    assert one.releasegate("record", "push", "../bundle").has("there is no such file")
    ran = one.releasegate("record", "pull", "../bundle")
    assert (ran.code, ran.has("../bundle: there is no such folder")) == (4, True)
    ran = one.releasegate("record", "pull", "refs/releasegate/other")
    assert (ran.code, ran.has("git:refs/releasegate/other: there is no such ref neither here nor at origin")) == (
        4,
        True,
    )
    (tmp_path / "bundle").write_text("a file")
    one.releasegate("open", "1.4.0")
    ran = one.releasegate("record", "push", "../bundle")
    assert (ran.code, ran.has("../bundle: cannot write")) == (4, True)
