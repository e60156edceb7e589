"""Records that were apart become one: by bundles in folders and in git, in any order, and never half."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.errors import UsageProblem
from pytest_releasegate.lifecycle.bundle import Directory, Wanted, pull, push
from pytest_releasegate.model import (
    Attestation,
    Evidence,
    Finding,
    Gate,
    Item,
    Ok,
    Phase,
    Place,
    Plan,
    PlannedGate,
    Release,
    Result,
    Revocation,
    Run,
    Severity,
    SignOff,
    Start,
    Status,
    StepEvent,
    Waiver,
)
from pytest_releasegate.store import open_store
from pytest_releasegate.store.documents import Document, read
from pytest_releasegate.store.history import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_releasegate.store import Store

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
COMMIT = "c0ffee" * 6 + "abcd"
NAMES = ("ci-1", "ci-2", "laptop")
ABOUT = ("shop", "1.4.0", "prod", 1)


def later(minutes: float) -> datetime:
    return AT + timedelta(minutes=minutes)


def gate(name: str) -> Gate:
    place = Place("gates/10.yaml", 14, 9)
    kind = {"id": name, "title": name, "item": Item("1", "One"), "phase": Phase.PREDEPLOY, "severity": Severity.HIGH}
    return Gate(**kind, kind="document", place=place)


def plan(digest: str = "plan-1", *gates: str) -> Plan:
    return Plan(tuple(PlannedGate(gate(name), f"digest of {name}") for name in gates or ("1.1", "1.2", "1.3")), digest)


def release(**changes: Any) -> Release:
    whole: dict[str, Any] = {"product": "shop", "version": "1.4.0", "environment": "prod", "opened_at": AT}
    return Release(**whole | {"git_commit": COMMIT} | changes)


def looked(store: Store, opened: Release, name: str, status: Status, minutes: float, *, host: str = "") -> bytes:
    """One run that looks at one gate, with evidence and a kept value."""
    body = f"{name} {status} {minutes} {host}".encode()
    piece = Evidence("answer.txt", "text/plain", sha256(body).hexdigest(), len(body))
    run = Run(
        started_at=later(minutes), expression="predeploy", scope=(name,), host=host or "host", pid=int(minutes) + 1
    )
    run_id = store.start_run(opened.id, run)
    found = (Finding("found", "yes", "yes" if status is Status.PASSED else "no", Ok.YES),)
    result = Result(gate=name, status=status, started_at=later(minutes + 0.1), findings=found, evidence=(piece,))
    store.add_result(opened.id, run_id, replace(result, kept={"rows": (1, 2.5)}, seconds=0.25), {piece.sha256: body})
    store.end_run(run_id, at=later(minutes + 0.2), decision="GO", exit_code=0)
    return body


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty record in a file, to be copied."""
    path = tmp_path_factory.mktemp("record") / "empty.db"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="module")
def original(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a record that has something of everything, and the bundle that it was pushed into."""
    folder = tmp_path_factory.mktemp("original")
    shutil.copy(empty, folder / "a.db")
    with open_store(f"sqlite:///{folder}/a.db") as store:
        filled(store)
        push(store, Directory(folder / "bundle"))
    return folder


@pytest.fixture
def pushed(original: Path, tmp_path: Path) -> Directory:
    """The record `a` and its bundle."""
    shutil.copy(original / "a.db", tmp_path / "a.db")
    shutil.copytree(original / "bundle", tmp_path / "bundle")
    return Directory(tmp_path / "bundle")


@pytest.fixture
def records(tmp_path: Path, empty: Path) -> Iterator[Callable[[str], Store]]:
    """Empty records by names."""
    made: dict[str, Store] = {}

    def record(name: str) -> Store:
        if name not in made:
            if not (tmp_path / f"{name}.db").exists():
                shutil.copy(empty, tmp_path / f"{name}.db")
            made[name] = open_store(f"sqlite:///{tmp_path / name}.db")
        return made[name]

    yield record
    for store in made.values():
        store.close()


@pytest.fixture
def bundle(tmp_path: Path) -> Directory:
    """A bundle in a folder that is not there yet."""
    return Directory(tmp_path / "bundle")


def filled(store: Store) -> Release:
    """A record with something of everything."""
    opening = release(
        facts={"maintenance": False}, window=(AT, later(60)), authors=("ann@x", "bob@x"), derived={"m": "a"}
    )
    opened = store.open_release(opening, plan("plan-0", "1.1"))
    store.replan(opened.id, plan(), at=later(1), person="ann", reason="more gates", derived={"m": "b"})
    looked(store, opened, "1.1", Status.PASSED, 2)
    store.set_facts(opened.id, {"billing": True}, "ann", later(3))
    said = {"person": "ann@x", "role": "dba", "at": later(4)}
    word = Attestation(gate="1.2", status=Status.PASSED, note="seen", evidence="a.pdf", **said)
    store.add_claim(opened.id, word, b"the pdf", file=b"the signed file")
    store.add_claim(opened.id, Waiver(gate="1.3", reason="known", expires_at=later(99), git_commit=COMMIT, **said))
    subject = {"1.1": ("passed",), "1.2": ("attested", "x")}
    digests = {"plan_digest": "plan-1", "policy_digest": "p"}
    store.add_claim(opened.id, SignOff(phase=Phase.PREDEPLOY, decision="GO", subject=subject, **digests, **said))
    store.add_claim(opened.id, Revocation(claim="abc", reason="wrong", **said))
    run = store.runs(opened.id)[0].id
    store.begin(opened.id, gate("1.1"), Start(gate="1.1", case="", at=later(5), run=run))
    store.add_step_event(opened.id, StepEvent(phase=Phase.DEPLOY, step="before", event="closed", at=later(6), run=run))
    store.add_step_event(opened.id, StepEvent(phase=Phase.DEPLOY, step="before", event="reopened", at=later(7)))
    store.set_stakeholders(opened.id, {"dba": ("Ann", "ann@x"), "qa": ("Bob", "bob@x")})
    store.set_stakeholders(opened.id, {"qa": ("Cy", "cy@x")})
    store.set_deployed(opened.id, later(8), "ann")
    store.roll_back(opened.id, later(9), reason="errors", person="ann")
    line = {"user_id": "ann", "action_type": "a", "resource_type": "r", "action_description": "d", "severity": "s"}
    store.add_audit(at=later(10), release_id=opened.id, **line)
    store.add_audit(at=later(11), release_id=None, **line)
    store.open_release(release(attempt=2, opened_at=later(20)), plan())
    return opened


def seen(store: Store) -> dict[str, Any]:
    """All that status and verdict read, without ids of rows."""

    def bare(values: Any) -> list[Any]:
        return sorted((replace(each, id=0) for each in values), key=repr)

    whole: dict[str, Any] = {}
    for each in store.releases():
        claims = store.claims(each.id)
        results = store.results(each.id)
        whole[each.name] = {
            "release": replace(each, id=0),
            "plan": store.plan(each.id),
            "runs": bare(store.runs(each.id)),
            "results": bare(results),
            "evidence": [store.evidence_body(piece.sha256) for result in results for piece in result.evidence],
            "claims": bare(claims.all),
            "files": store.claim_files(each.id),
            "steps": [replace(event, run=bool(event.run)) for event in store.step_events(each.id)],
            "starts": [replace(start, run=0) for start in store.starts(each.id, gate("1.1"))],
            "people": store.stakeholders(each.id),
            "audit": bare(replace(line, release_id=0) for line in store.audit(each.id)),
        }
    return whole


def problem(action: Callable[[], Any]) -> str:
    with pytest.raises(UsageProblem) as caught:
        action()
    return str(caught.value)


def test_everything_travels_and_twice_is_once(records: Callable[[str], Store], bundle: Directory) -> None:
    filled(records("a"))
    pushed = push(records("a"), bundle)
    assert pushed == Counter(
        {"opened": 2, "replanned": 1, "facts": 1, "stakeholders": 2, "deployed": 1, "rolled_back": 1, "run": 1}
        | {"run_end": 1, "result": 1, "claim": 4, "start": 1, "step": 2, "audit": 3}
    )
    assert pull(records("b"), bundle) == pushed
    assert seen(records("b")) == seen(records("a"))
    assert seen(records("a"))["1.4.0/prod"]["people"] == {"dba": ("Ann", "ann@x"), "qa": ("Cy", "cy@x")}
    head, files = records("b").head(), bundle.names()
    assert (pull(records("b"), bundle), push(records("b"), bundle), push(records("a"), bundle)) == (Counter(),) * 3
    assert (records("b").head(), bundle.names()) == (head, files)
    assert records("b").verify() == []


def test_what_was_pulled_is_passed_on_unchanged(records: Callable[[str], Store], tmp_path: Path) -> None:
    """By way of a second bundle the same documents come, whatever the rows' ids on the way."""
    filled(records("a"))
    looked(records("b"), records("b").open_release(release(), plan("plan-0", "1.1")), "1.1", Status.PASSED, 30)
    first, second = Directory(tmp_path / "1"), Directory(tmp_path / "2")
    push(records("a"), first)
    pull(records("b"), first)
    push(records("b"), second)
    pull(records("a"), second)
    assert seen(records("a")) == seen(records("b"))
    push(records("a"), first)
    documents = {name for name in first.names() if "/" in name and not name.startswith("push/")}
    assert documents == {name for name in second.names() if not name.startswith("push/")}


def test_documents_lead_to_the_rows_that_they_were_made_of(records: Callable[[str], Store]) -> None:
    from sqlalchemy import select

    from pytest_releasegate.store.schema import releases

    store = records("a")
    filled(store)
    with store._reading() as connection:
        rows = connection.execute(select(releases)).mappings().all()
    here = store.documents()
    for row in rows:
        about = (row["product"], row["version"], row["environment"], row["attempt"])
        history = fold(about, here.events(about))
        values = {**history.values, "plan": here.plans[history.plan].decode(), "id": row["id"]}
        assert {name: values.get(name) for name in row} == dict(row)


@pytest.mark.parametrize("order", list(permutations(NAMES)))
def test_any_order_ends_with_the_same(
    order: tuple[str, ...], records: Callable[[str], Store], bundle: Directory
) -> None:
    """Three records that opened the release on their own, looked at different gates and at the same one."""
    for number, (name, minutes) in enumerate(zip(NAMES, (0, 3, 7), strict=True)):
        opened = records(name).open_release(release(opened_at=later(minutes), git_branch=name), plan())
        looked(records(name), opened, f"1.{number + 1}", Status.PASSED, 10 + number, host=name)
        looked(
            records(name), opened, "1.1", (Status.FAILED, Status.PASSED, Status.ERROR)[number], 20 - number, host=name
        )
        records(name).set_facts(opened.id, {"maintenance": number == 1}, name, later(30 - number))
        push(records(name), Directory(bundle.folder / name))
    for name in NAMES:
        for other in order if name != "laptop" else reversed(order):
            pull(records(name), Directory(bundle.folder / other))
    first, second, third = (seen(records(name)) for name in NAMES)
    assert first == second == third
    assert (first["1.4.0/prod"]["release"].opened_at, first["1.4.0/prod"]["release"].git_branch) == (AT, "ci-1")
    assert first["1.4.0/prod"]["release"].facts == {"maintenance": False}
    newest = [[(each.gate, each.status, each.id) for each in records(name).results(1)] for name in NAMES]
    assert newest[0] == newest[1] == newest[2]
    assert max(newest[0], key=lambda each: each[2])[:2] == ("1.1", Status.FAILED)
    assert [records(name).verify() for name in NAMES] == [[], [], []]


def test_a_clock_that_was_set_back_does_not_turn_a_records_own_order(
    records: Callable[[str], Store], bundle: Directory
) -> None:
    opened = records("a").open_release(release(), plan())
    looked(records("a"), opened, "1.1", Status.PASSED, 50)
    looked(records("a"), opened, "1.1", Status.FAILED, 10)
    push(records("a"), bundle)
    looked(records("b"), records("b").open_release(release(), plan()), "1.1", Status.PASSED, 30)
    pull(records("b"), bundle)
    push(records("b"), bundle)
    pull(records("a"), bundle)
    for name in "ab":
        by_order = sorted(records(name).results(1), key=lambda result: result.id)
        assert [(each.status, each.started_at) for each in by_order] == [
            (Status.PASSED, later(30.1)),
            (Status.PASSED, later(50.1)),
            (Status.FAILED, later(10.1)),
        ]


def test_different_plans_are_refused_until_one_record_has_the_others(
    records: Callable[[str], Store], bundle: Directory
) -> None:
    a, b = records("a"), records("b")
    first, second = a.open_release(release(), plan()), b.open_release(release(), plan("plan-2", "1.1"))
    push(a, bundle)
    looked(b, second, "1.1", Status.PASSED, 1)
    said = problem(lambda: pull(b, bundle))
    assert "shop 1.4.0/prod: its plan is plan-1 in one record and plan-2 in another" in said
    assert "releasegate replan --release 1.4.0 --env prod --reason" in said
    files = bundle.names()
    assert "in another" in problem(lambda: push(b, bundle))
    assert (bundle.names(), len(b.documents().documents)) == (files, 4)
    b.replan(second.id, plan(), at=later(2), person="bob", reason="the gates of main")
    push(b, bundle)
    a.replan(first.id, plan("plan-3", "1.3"), at=later(5), person="ann", reason="fewer")
    pull(a, bundle)
    push(a, bundle)
    pull(b, bundle)
    assert a.plan(first.id) == b.plan(second.id) == plan("plan-3", "1.3")
    a.replan(first.id, plan(), at=later(6), person="ann", reason="and back")
    push(a, bundle)
    pull(b, bundle)
    assert seen(a) == seen(b)
    assert b.plan(second.id) == plan()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"git_commit": "ba5eba11" * 5}, f"it is of commit {COMMIT} and ba5eba11ba5eba11ba5eba11ba5eba11ba5eba11"),
        ({"profile": "hotfix"}, "its profile is (none) and hotfix"),
        ({"window": (AT, later(5))}, "its window is 2026-01-05T09:00:00.000000+00:00 to "),
        ({"deployed": 2}, "it was deployed at 2026-01-05T09:01:00.000000+00:00 and 2026-01-05T09:02:00.000000+00:00"),
        ({"deployed": 1, "reason": "slow"}, "it was rolled back at 2026-01-05T09:09:00.000000+00:00: errors and "),
    ],
)
def test_two_records_that_cannot_both_be_right_are_refused_by_name(
    changes: dict[str, Any], said: str, records: Callable[[str], Store], bundle: Directory
) -> None:
    deployed, reason = changes.pop("deployed", 1), changes.pop("reason", "errors")
    for name, more, minutes, why in (("a", {}, 1, "errors"), ("b", changes, deployed, reason)):
        opened = records(name).open_release(release(**{"window": (AT, later(9)), "opened_at": AT} | more), plan())
        records(name).set_deployed(opened.id, later(minutes), name)
        records(name).roll_back(opened.id, later(9), reason=why, person=name)
    push(records("a"), bundle)
    before = records("b").head()
    assert f"shop 1.4.0/prod: {said}" in problem(lambda: pull(records("b"), bundle))
    assert records("b").head() == before


def test_a_release_that_one_record_deployed_is_deployed_in_the_other(
    records: Callable[[str], Store], bundle: Directory
) -> None:
    a = records("a").open_release(release(git_commit=""), plan())
    b = records("b").open_release(release(window=(AT, later(9))), plan())
    records("a").add_claim(a.id, Attestation(gate="1.1", status=Status.PASSED, person="p", role="r", at=later(1)))
    records("b").set_deployed(b.id, later(2), "bob")
    push(records("b"), bundle)
    pull(records("a"), bundle)
    push(records("a"), bundle)
    pull(records("b"), bundle)
    found = records("a").release(a.id)
    assert (found.deployed_at, found.git_commit, found.window) == (later(2), COMMIT, (AT, later(9)))
    assert seen(records("a")) == seen(records("b"))
    assert [records(name).verify() for name in "ab"] == [[], []]


@pytest.mark.parametrize(
    ("said", "at", "by"),
    [
        ({"a": (3, "gate 1"), "b": (2, "gate 2")}, 2, "gate 2"),
        ({"a": (2, "gate 1"), "b": (3, "bob")}, 3, "bob"),
        ({"a": (3, "gate 1"), "b": (2, "bob")}, 2, "bob"),
    ],
)
def test_of_a_deployment_that_two_records_know_a_person_says_when_else_who_saw_it_first(
    said: dict[str, tuple[int, str]], at: int, by: str, records: Callable[[str], Store], bundle: Directory
) -> None:
    ids = {name: records(name).open_release(release(), plan()).id for name in said}
    for name, (minutes, person) in said.items():
        records(name).set_deployed(ids[name], later(minutes), person)
        push(records(name), bundle)
    for name in said:
        pull(records(name), bundle)
        found = records(name).release(ids[name])
        assert (found.deployed_at, found.deployed_by, records(name).verify()) == (later(at), by, [])


@pytest.mark.parametrize("kind", ["opened", "replanned", "run", "result", "claim", "audit", "push", "blobs"])
def test_a_changed_file_is_refused_and_nothing_is_taken_in(
    kind: str, records: Callable[[str], Store], pushed: Directory
) -> None:
    name = next(name for name in pushed.names() if f"/{kind}/" in f"/{name}")
    path = pushed.folder / name
    path.write_bytes(path.read_bytes().replace(b"a", b"b"))
    before = records("b").head()
    assert f"{path}: its content is not what the digest in its name says" in problem(lambda: pull(records("b"), pushed))
    assert (records("b").head(), records("b").releases()) == (before, [])


@pytest.mark.parametrize("kind", ["opened", "run", "result", "claim", "audit"])
def test_a_copy_that_is_not_whole_is_refused(kind: str, records: Callable[[str], Store], pushed: Directory) -> None:
    name = next(name for name in pushed.names() if f"/{kind}/" in f"/{name}")
    (pushed.folder / name).unlink()
    assert f"1 of its files are missing, the first is {name}" in problem(lambda: pull(records("b"), pushed))


def test_a_missing_plan_or_claim_file_is_refused_and_missing_evidence_is_not(
    records: Callable[[str], Store], pushed: Directory
) -> None:
    bodies = {name: (pushed.folder / name).read_bytes() for name in pushed.names() if name.startswith("blobs/")}
    assert len(bodies) == 5
    for name, body in bodies.items():
        (pushed.folder / name).unlink()
        if body in {b"the pdf", b"1.1 passed 2 "}:
            continue
        assert "is not in the bundle" in problem(lambda: pull(records("b"), pushed))
        assert records("b").releases() == []
        (pushed.folder / name).write_bytes(body)
    pull(records("b"), pushed)
    assert seen(records("b"))["1.4.0/prod"]["evidence"] == [None]
    assert push(records("b"), pushed) == Counter()
    assert records("b").verify() == []


def forged(pushed: Directory, kind: str, changes: dict[str, Any]) -> str:
    """A file of the bundle changed, under the name that it should have then, with its old one removed everywhere."""
    name = next(name for name in pushed.names() if f"/{kind}/" in name)
    path = pushed.folder / name
    document = json.loads(path.read_bytes())
    path.unlink()
    shutil.rmtree(pushed.folder / "push")
    document.update(changes)
    kinds = {"format", "kind", "release"}
    about = document["release"] and tuple(document["release"])
    made = Document(document["kind"], about, {each: value for each, value in document.items() if each not in kinds})
    (pushed.folder / made.name).parent.mkdir(parents=True, exist_ok=True)
    (pushed.folder / made.name).write_bytes(made.body)
    return made.name


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("result", {"status": "fine"}, "'status' is malformed"),
        ("result", {"status": None}, "'status' is malformed"),
        ("result", {"findings": [["x"]]}, "'findings' is malformed"),
        ("result", {"evidence": [["n", "m", "../x", 1]]}, "'evidence' is malformed"),
        ("result", {"seconds": "1"}, "'seconds' is malformed"),
        ("result", {"started_at": "2026-01-05"}, "'started_at' is malformed"),
        ("result", {"run": "0" * 64}, "the run 000000000000 that it is of is not there"),
        ("result", {"extra": 1}, "'extra' is unknown in a document of kind 'result'"),
        ("run", {"pid": True}, "'pid' is malformed"),
        ("run", {"format": "releasegate-record/1", "kind": "other"}, "unknown kind 'other'"),
        ("claim", {"claim": {"format": "releasegate-claim/1"}}, "'claim' is malformed"),
        ("claim", {"release": ["shop", "1.4.0", "prod", 2]}, "is about another release, or malformed"),
        ("result", {"attempts": 2**31}, "'attempts' is malformed"),
        ("result", {"origin": "a/b"}, "'origin' is malformed"),
        ("result", {"message": "a\0b"}, "it is not in its only form"),
        ("result", {"release": ["shop", "1.4.0", "prod", 0]}, "release: expected an attempt from 1"),
        ("opened", {"release": None}, "release: expected product, version, environment and attempt"),
        ("opened", {"facts": {"maintenance": "no"}}, "'facts' is malformed"),
        ("step", {"event": "paused"}, "'event' is malformed"),
    ],
)
def test_malformed_documents_are_refused_whatever_their_digest(
    kind: str, changes: dict[str, Any], said: str, records: Callable[[str], Store], pushed: Directory
) -> None:
    forged(pushed, kind, changes)
    assert said in problem(lambda: pull(records("b"), pushed))
    assert records("b").releases() == []


@pytest.mark.parametrize(("kind", "changes"), [("result", {"status": "failed"}), ("claim", {"file": None})])
def test_two_documents_of_one_thing_are_refused(
    kind: str, changes: dict[str, Any], records: Callable[[str], Store], pushed: Directory
) -> None:
    if kind == "claim":
        changes = {"evidence": "0" * 64}
    forged(pushed, kind, changes)
    before = records("a").head()
    assert "is there with another" in problem(lambda: pull(records("a"), pushed))
    assert "is there with another" in problem(lambda: push(records("a"), pushed))
    assert records("a").head() == before


def test_files_that_are_none_of_a_bundle_are_refused(records: Callable[[str], Store], bundle: Directory) -> None:
    assert "there is no such folder" in problem(lambda: pull(records("a"), bundle))
    filled(records("a"))
    push(records("a"), bundle)
    (bundle.folder / "notes.txt").write_text("hello")
    assert f"{bundle.folder}/notes.txt is no file of a bundle" in problem(lambda: pull(records("b"), bundle))
    (bundle.folder / "notes.txt").unlink()
    name = next(name for name in bundle.names() if "/result/" in name)
    (bundle.folder / "result").mkdir()
    (bundle.folder / name).rename(bundle.folder / "result" / name.rpartition("/")[2])
    assert f"it belongs to {name}" in problem(lambda: pull(records("b"), bundle))


def test_a_record_with_defects_is_not_passed_on(records: Callable[[str], Store], bundle: Directory) -> None:
    filled(records("a"))
    with records("a")._writer.begin() as connection:
        connection.exec_driver_sql("UPDATE gate_results SET status = 'failed'")
    assert "gate_results row 1 was changed: status is 'failed'" in problem(lambda: push(records("a"), bundle))
    assert not bundle.folder.exists()


def test_only_what_is_named_travels(records: Callable[[str], Store], bundle: Directory) -> None:
    for version, environment in (("1.4.0", "prod"), ("1.4.0", "demo"), ("1.5.0", "prod")):
        records("a").open_release(release(version=version, environment=environment), plan())
    push(records("a"), bundle, Wanted("1.4.0"))
    assert pull(records("b"), bundle, Wanted(environment="prod")) == {"opened": 1}
    assert [each.name for each in records("b").releases()] == ["1.4.0/prod"]
    assert pull(records("b"), bundle) == {"opened": 1}


def test_names_are_safe_whatever_people_call_their_releases(records: Callable[[str], Store], bundle: Directory) -> None:
    for version in ("..", "../../etc", ".5", "a/b", "1 0", "Ä:*", ""):
        records("a").open_release(release(version=version), plan())
    push(records("a"), bundle)
    assert all((bundle.folder / name).resolve().is_relative_to(bundle.folder.resolve()) for name in bundle.names())
    assert not [name for name in bundle.names() if "/." in f"/{name}" or set(name) & set('"<>|*?:\\')]
    assert {path.name for path in bundle.folder.parent.iterdir() if path.is_dir()} == {"bundle"}
    pull(records("b"), bundle)
    assert seen(records("b")) == seen(records("a"))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b"{", b"[" * 100_000, b'{"format": "releasegate-record/1"}']
)
def test_whatever_is_no_document_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        read(body)
