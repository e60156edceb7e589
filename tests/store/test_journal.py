"""The journal is exact, durable, and gives back only what belongs to the record."""

from __future__ import annotations

import os
import resource
import signal
import socket
from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_releasegate.model import Evidence, Finding, Ok, Result, Status
from pytest_releasegate.store import open_store
from pytest_releasegate.store.journal import Journal, discard, from_json, recover, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_releasegate.store import Store

texts = st.text(st.characters(), max_size=20)
any_text = st.one_of(texts, st.text(st.characters(categories=["Cs", "Cc"]), max_size=6))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(max_size=5) | st.timedeltas(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(any_text | st.just("~") | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
results = st.builds(
    Result,
    gate=any_text,
    case=any_text,
    target=any_text,
    status=st.sampled_from(Status),
    started_at=st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(fold=0)),
    findings=st.lists(
        st.builds(Finding, any_text, any_text, any_text, st.sampled_from(Ok), st.booleans()), max_size=2
    ).map(tuple),
    evidence=st.lists(st.builds(Evidence, any_text, any_text, any_text, st.integers()), max_size=2).map(tuple),
    kept=st.dictionaries(any_text, values, max_size=3),
    message=any_text,
    seconds=st.floats(),
    attempts=st.integers(),
    gate_digest=any_text,
    code=any_text,
    id=st.integers(),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(results)
def test_json_is_exact_and_plain(result: Result) -> None:
    text = to_json(result)
    assert text.isascii()
    assert "\n" not in text
    # repr tells 1 from 1.0 and True, and takes two NaN for alike
    assert repr(from_json(text)) == repr(result)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"status": "green"}', '{"~": "nothing", "v": 1}'])
def test_what_it_never_wrote_is_refused(text: str) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        from_json(text)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Store]:
    """A record in a file."""
    with open_store(f"sqlite:///{tmp_path}/record.db") as store:
        yield store


def write(folder: Path, run_id: int, *results: Result, worker: str = "gw0") -> Path:
    """What a killed worker leaves behind."""
    journal = Journal(folder, run_id, worker)
    for result in results:
        journal.append(result, {})
    journal.close()
    return folder / f"run-{run_id}" / f"{worker}.jsonl"


def test_leftovers_come_into_the_record_once(url: str, tmp_path: Path, sample: Any) -> None:
    folder = tmp_path / "journal"
    with open_store(url) as store:
        opened, run_id = sample.started(store)
        piece, bodies = sample.evidence(b"answer")
        first, second = sample.result(1, evidence=(piece,), kept={"x": 1}), sample.result(2)
        journal = Journal(folder, run_id, "gw0")
        journal.append(first, bodies)
        journal.close()
        write(folder, run_id, second, worker="gw1")
        store.add_result(opened.id, run_id, second, {})
        (found,) = recover(store, folder)
        assert (found.run, found.recovered, found.cut_off, found.problems) == (run_id, 1, (), ())
        read = store.results(opened.id)
        assert [replace(each, id=0) for each in read] == [first, second]
        assert store.evidence_body(piece.sha256) == b"answer"
        assert recover(store, folder) == []
        assert list(folder.iterdir()) == []
        assert store.verify() == []


def test_gates_without_a_result_are_cut_off(record: Store, tmp_path: Path, sample: Any) -> None:
    opened = record.open_release(sample.release(), sample.plan())
    run_id = record.start_run(opened.id, sample.run(scope=("1.1", "1.2", "1.3")))
    write(tmp_path / "j", run_id, sample.result())
    (found,) = recover(record, tmp_path / "j")
    assert (found.recovered, found.cut_off) == (1, ("1.2", "1.3"))


def test_run_killed_before_its_first_result(record: Store, tmp_path: Path, sample: Any) -> None:
    _, run_id = sample.started(record)
    write(tmp_path / "j", run_id)
    (found,) = recover(record, tmp_path / "j")
    assert (found.recovered, found.cut_off) == (0, ("1.1",))


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_torn_last_line_is_told_and_not_guessed(record: Store, tmp_path: Path, sample: Any, cut: int) -> None:
    opened, run_id = sample.started(record)
    file = write(tmp_path / "j", run_id, sample.result(1), sample.result(2))
    os.truncate(file, file.stat().st_size - 1 - cut)
    (found,) = recover(record, tmp_path / "j")
    assert found.recovered == 1
    assert found.problems == (f"{file}:2: a result was cut off while it was written and is not guessed",)
    assert len(record.results(opened.id)) == 1


def test_line_that_was_changed_is_not_taken(record: Store, tmp_path: Path, sample: Any) -> None:
    opened, run_id = sample.started(record)
    file = write(tmp_path / "j", run_id, sample.result(status=Status.FAILED))
    file.write_text(file.read_text().replace("failed", "passed"))
    (found,) = recover(record, tmp_path / "j")
    assert (found.recovered, len(found.problems)) == (0, 1)
    assert record.results(opened.id) == []


def test_worker_goes_on_after_a_torn_line(record: Store, tmp_path: Path, sample: Any) -> None:
    _, run_id = sample.started(record)
    file = write(tmp_path / "j", run_id, sample.result(1))
    os.truncate(file, file.stat().st_size - 9)
    write(tmp_path / "j", run_id, sample.result(2))
    (found,) = recover(record, tmp_path / "j")
    assert (found.recovered, len(found.problems)) == (1, 1)


def test_run_of_another_record_is_left_where_it_is(record: Store, tmp_path: Path, sample: Any) -> None:
    file = write(tmp_path / "j", 7, sample.result())
    (found,) = recover(record, tmp_path / "j")
    assert (found.run, found.recovered) == (7, 0)
    assert "knows no run 7" in found.problems[0]
    assert file.exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"gate": "9.9"}, "is outside of the scope of run 1"),
        ({"started_at": -timedelta(seconds=1)}, "is older than run 1"),
        ({"started_at": timedelta(hours=2)}, "is younger than the end of run 1"),
    ],
)
def test_result_that_does_not_fit_its_run_is_left(
    record: Store, tmp_path: Path, sample: Any, change: dict[str, Any], why: str
) -> None:
    opened, run_id = sample.started(record)
    if "started_at" in change:
        change = {"started_at": sample.at + change["started_at"]}
        record.end_run(run_id, at=sample.at + timedelta(hours=1), decision="HOLD", exit_code=10)
    file = write(tmp_path / "j", run_id, replace(sample.result(), **change), sample.result(1))
    (found,) = recover(record, tmp_path / "j")
    assert found.recovered == 1
    assert why in found.problems[0]
    assert file.exists()
    assert len(record.results(opened.id)) == 1


def test_lines_of_another_run_in_the_folder_are_left(record: Store, tmp_path: Path, sample: Any) -> None:
    opened, run_id = sample.started(record)
    other = record.start_run(opened.id, sample.run())
    write(tmp_path / "j", other, sample.result())
    (tmp_path / "j" / f"run-{other}").rename(tmp_path / "j" / f"run-{run_id}")
    (found,) = recover(record, tmp_path / "j")
    assert f"names run {other}, expected {run_id}" in found.problems[0]
    assert record.results(opened.id) == []


def test_lost_evidence_is_told_and_the_result_taken(record: Store, tmp_path: Path, sample: Any) -> None:
    opened, run_id = sample.started(record)
    piece, bodies = sample.evidence(b"answer")
    journal = Journal(tmp_path / "j", run_id, "gw0")
    journal.append(sample.result(evidence=(piece,)), bodies)
    journal.close()
    (tmp_path / "j" / f"run-{run_id}" / "blobs" / piece.sha256).write_bytes(b"ans")
    (found,) = recover(record, tmp_path / "j")
    assert found.recovered == 1
    assert "the bytes of evidence 'answer.txt' are lost" in found.problems[0]
    assert record.evidence_body(piece.sha256) is None
    assert record.results(opened.id)[0].evidence == (piece,)


def test_living_run_is_left_alone(record: Store, tmp_path: Path, sample: Any) -> None:
    opened = record.open_release(sample.release(), sample.plan())
    alive = sample.run(host=socket.gethostname(), pid=os.getppid())
    file = write(tmp_path / "j", record.start_run(opened.id, alive), sample.result())
    assert recover(record, tmp_path / "j") == []
    assert file.exists()


def test_run_that_had_the_number_of_this_process_is_dead(record: Store, tmp_path: Path, sample: Any) -> None:
    opened = record.open_release(sample.release(), sample.plan())
    before = sample.run(host=socket.gethostname(), pid=os.getpid())
    write(tmp_path / "j", record.start_run(opened.id, before), sample.result())
    assert [each.recovered for each in recover(record, tmp_path / "j")] == [1]


def test_run_whose_journal_is_open_is_left_alone(record: Store, tmp_path: Path, sample: Any) -> None:
    _, run_id = sample.started(record)
    journal = Journal(tmp_path / "j", run_id, "gw0")
    journal.append(sample.result(), {})
    assert recover(record, tmp_path / "j") == []
    journal.close()
    assert [each.recovered for each in recover(record, tmp_path / "j")] == [1]


def test_record_that_fails_keeps_the_journal(record: Store, tmp_path: Path, sample: Any) -> None:
    from pytest_releasegate.errors import RecordError

    _, run_id = sample.started(record)
    file = write(tmp_path / "j", run_id, sample.result())
    with record._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(RecordError, match="read-only"):
        recover(record, tmp_path / "j")
    with record._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
    assert file.exists()
    assert [each.recovered for each in recover(record, tmp_path / "j")] == [1]


def test_discard_removes_the_run_and_no_other(tmp_path: Path, sample: Any) -> None:
    write(tmp_path, 1, sample.result())
    write(tmp_path, 12, sample.result())
    discard(tmp_path, 1)
    discard(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["run-12"]


def test_full_disk_leaves_whole_lines(record: Store, tmp_path: Path, sample: Any) -> None:
    _, run_id = sample.started(record)
    journal = Journal(tmp_path / "j", run_id, "gw0")
    journal.append(sample.result(1), {})
    file = tmp_path / "j" / f"run-{run_id}" / "gw0.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 4000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            journal.append(sample.result(2, message="long " * 1000), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    journal.append(sample.result(3), {})
    journal.close()
    (found,) = recover(record, tmp_path / "j")
    assert (found.recovered, found.problems) == (2, ())


def test_names_cannot_leave_the_folder(tmp_path: Path, sample: Any) -> None:
    journal = Journal(tmp_path / "j", 1, "../../gw0")
    with pytest.raises(ValueError, match="expected a SHA-256 digest"):
        journal.append(sample.result(), {"../../x": b""})
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["j"]
