"""`backup`: what is old, broken, elsewhere, in the clear or not there at all does not pass for a backup."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from pytest_releasegate.checks.backup import Backup
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.sources import s3
from pytest_releasegate.sources.ciphers import cipher_of
from pytest_releasegate.sources.s3 import Signer, signed
from pytest_releasegate.sources.sizes import shown_bytes
from pytest_releasegate.testing import FakeClock, Remembered, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Answers(BaseHTTPRequestHandler):
    """Answers each request with the same body."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def http_answer() -> Iterator[Callable[[bytes], str]]:
    """Serve a body; gives the base URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as serving:
        thread = Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()

        def serve(body: bytes) -> str:
            Answers.body = body
            return f"http://127.0.0.1:{serving.server_port}"

        yield serve
        serving.shutdown()
        thread.join()


NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
HIDE = "import sys; sys.stdout.buffer.write(b'Salted__' + bytes(b ^ 90 for b in sys.stdin.buffer.read()))"
SHOW = "import sys; sys.stdout.buffer.write(bytes(b ^ 90 for b in sys.stdin.buffer.read()[8:]))"
DECRYPT = (sys.executable, "-c", SHOW)


@pytest.fixture(scope="module")
def dumps(server: Any, new_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real archive of each format, as `c`, `d` and `t`, a schema without rows and an encrypted one."""
    environment = new_database(
        "create table clients (id int primary key, name text);"
        "insert into clients select i, md5(i::text) from generate_series(1, 3000) i; create table empty (id int)"
    )
    folder: Path = tmp_path_factory.mktemp("dumps")
    dsn = server.dsn(environment.databases["app"].rsplit("/", 1)[1])
    for name, options in {"c": ["-Fc"], "d": ["-Fd"], "t": ["-Ft"], "schema": ["-Fc", "-s"]}.items():
        subprocess.run([server.binaries / "pg_dump", *options, "-f", folder / name, dsn], check=True)
    hidden = subprocess.run(
        [sys.executable, "-c", HIDE], input=(folder / "c").read_bytes(), capture_output=True, check=True
    )
    (folder / "hidden").write_bytes(hidden.stdout)
    return folder


def made(folder: Path, name: str, body: bytes, age: timedelta = timedelta(hours=1), now: datetime = NOW) -> Path:
    """A file that was written so long ago."""
    path = folder / name
    path.write_bytes(body)
    at = (now - age).timestamp()
    os.utime(path, (at, at))
    return path


def told(seen: Any) -> list[str]:
    return [f"{finding} [{finding.ok}]" for finding in seen.findings]


def line(seen: Any, name: str) -> str:
    (found,) = [text for text in told(seen) if text.startswith(f"{name}:")]
    return found


@pytest.mark.parametrize("name", ["c", "d", "t"])
def test_a_whole_archive_passes_and_is_kept(dumps: Path, name: str) -> None:
    seen = look(Backup(dump=str(dumps / name)))
    assert seen.status is Status.PASSED, (told(seen), seen.message)
    of = "2 tables, the rows of 2, of database 'db"
    assert of in line(seen, "its contents")
    assert line(seen, "its contents").endswith("; each block read [yes]")
    kept = seen.kept["backup/full"]
    assert (kept["name"], kept["location"], len(kept["sha256"])) == (name, str(dumps), 0 if name == "d" else 64)
    assert kept["dated_by"].startswith("its ")
    assert kept["size"] > 1000


@pytest.mark.parametrize(("name", "cut"), [("c", 9000), ("t", 50_000), ("c", 300), ("c", 3)])
def test_a_truncated_archive_fails(dumps: Path, tmp_path: Path, name: str, cut: int) -> None:
    made(tmp_path, "a.dump", (dumps / name).read_bytes()[:cut], now=datetime.now(UTC))
    seen = look(Backup(dump=str(tmp_path / "*.dump")))
    assert seen.status is Status.FAILED, told(seen)
    assert line(seen, "its contents").startswith("its contents: expected a whole archive, got a.dump: ")


def test_a_directory_that_lacks_a_file_fails(dumps: Path, tmp_path: Path) -> None:
    copy = tmp_path / "nightly"
    copy.mkdir()
    for file in (dumps / "d").iterdir():
        if file.name == "toc.dat" or file.stat().st_size < 1000:
            (copy / file.name).write_bytes(file.read_bytes())
    assert look(Backup(dump=str(tmp_path), read=False)).status is Status.PASSED
    seen = look(Backup(dump=str(tmp_path)))
    assert seen.status is Status.FAILED
    assert "No such file" in line(seen, "its contents")


def test_what_only_begins_like_an_archive_fails(tmp_path: Path) -> None:
    made(tmp_path, "a.dump", b"PGDMP" + b"\0" * 5000, now=datetime.now(UTC))
    seen = look(Backup(dump=str(tmp_path), encrypted=True))
    assert seen.status is Status.FAILED
    assert line(seen, "its contents").endswith("got a.dump: unsupported version (0.0) in file header [no]")
    assert line(seen, "encryption").endswith("got 1 of 1 not encrypted: a.dump [no]")


def test_what_is_no_full_dump_fails(dumps: Path, tmp_path: Path) -> None:
    seen = look(Backup(dump=str(dumps / "schema")))
    assert seen.status is Status.FAILED
    assert "got the schema only: 2 tables without their rows [no]" in line(seen, "its contents")
    made(tmp_path, "a.dump", b"", now=datetime.now(UTC))
    assert line(look(Backup(dump=str(tmp_path))), "its size") == (
        "its size: expected more than nothing, got 0 bytes [no]"
    )


def test_plain_dumps_are_read_to_their_last_line(server: Any, dumps: Path, tmp_path: Path) -> None:
    done = subprocess.run([server.binaries / "pg_restore", "-f", "-", dumps / "c"], capture_output=True, check=True)
    hidden = subprocess.run([sys.executable, "-c", HIDE], input=done.stdout, capture_output=True, check=True).stdout
    now = datetime.now(UTC)
    for body, decrypt in ((done.stdout, ()), (gzip.compress(done.stdout), ()), (hidden, DECRYPT)):
        made(tmp_path, "a.sql", body, now=now)
        seen = look(Backup(dump=str(tmp_path), decrypt=decrypt))
        assert seen.status is Status.PASSED, (told(seen), seen.message)
        assert line(seen, "its contents").endswith("got 2 tables, the rows of 2; each block read [yes]")
        made(tmp_path, "a.sql", body[: len(body) - 200], now=now)
        seen = look(Backup(dump=str(tmp_path), decrypt=decrypt))
        assert seen.status is Status.FAILED
        assert "it breaks off" in line(seen, "its contents")


def test_an_encrypted_dump_is_read_through_its_command(dumps: Path) -> None:
    check = Backup(dump=str(dumps / "hidden"), encrypted=True, decrypt=DECRYPT)
    seen = look(check)
    assert seen.status is Status.PASSED, (told(seen), seen.message)
    assert line(seen, "encryption") == "encryption: expected all 1 encrypted, got all 1 (openssl) [yes]"
    unread = look(Backup(dump=str(dumps / "hidden"), encrypted=True))
    assert unread.status is Status.INCONCLUSIVE
    assert "openssl cannot be read without `decrypt`" in line(unread, "its contents")
    assert look(Backup(dump=str(dumps / "hidden"), read=False)).status is Status.PASSED
    wrong = look(Backup(dump=str(dumps / "hidden"), decrypt=(sys.executable, "-c", "raise SystemExit('bad key')")))
    assert wrong.status is Status.ERROR
    assert "hidden cannot be decrypted: exit code 1, bad key" in wrong.message


def test_a_truncated_encrypted_dump_fails(dumps: Path, tmp_path: Path) -> None:
    made(tmp_path, "a", (dumps / "hidden").read_bytes()[:9000], now=datetime.now(UTC))
    assert look(Backup(dump=str(tmp_path), decrypt=DECRYPT)).status is Status.FAILED


def test_a_copy_is_as_old_as_its_header(dumps: Path) -> None:
    later = FakeClock(datetime.now(UTC) + timedelta(days=2))
    at = later.now().timestamp()
    before = (dumps / "c").stat().st_mtime
    os.utime(dumps / "c", (at, at))
    seen = look(Backup(dump=str(dumps / "c")), clock=later)
    os.utime(dumps / "c", (before, before))
    assert seen.status is Status.FAILED
    assert "by its own header, read as local time, 48.0 hours old [no]" in line(seen, "newest full backup")


def test_a_copy_of_an_old_dump_is_not_the_newest(dumps: Path, tmp_path: Path) -> None:
    later = FakeClock(datetime.now(UTC) + timedelta(days=2))
    made(tmp_path, "copied.dump", (dumps / "c").read_bytes(), timedelta(minutes=1), now=later.now())
    made(tmp_path, "real.dump", (dumps / "hidden").read_bytes(), timedelta(hours=3), now=later.now())
    seen = look(Backup(dump=str(tmp_path), read=False), clock=later)
    assert seen.status is Status.PASSED
    assert "got real.dump of " in line(seen, "newest full backup")


@pytest.mark.parametrize(
    ("age", "ending", "status"),
    [
        (timedelta(hours=23), "23.0 hours old [yes]", Status.PASSED),
        (timedelta(hours=25), "25.0 hours old [no]", Status.FAILED),
        (-timedelta(minutes=10), "10 minutes in the future [no]", Status.FAILED),
    ],
)
def test_age_of_the_newest(tmp_path: Path, age: timedelta, ending: str, status: Status) -> None:
    made(tmp_path, "old.tar.gz", b"\x1f\x8b old", timedelta(days=3))
    made(tmp_path, "new.tar.gz", b"\x1f\x8b new", age)
    seen = look(Backup(folder=str(tmp_path)), clock=FakeClock(NOW))
    assert (seen.status, line(seen, "newest full backup").endswith(ending)) == (status, True), told(seen)
    assert "new.tar.gz of 2026-01-" in line(seen, "newest full backup")


def test_nothing_there_fails_and_nothing_readable_is_an_error(tmp_path: Path) -> None:
    seen = look(Backup(folder=str(tmp_path)))
    assert seen.status is Status.FAILED
    assert line(seen, "newest full backup").endswith("expected one of the last 1d, got no backup at all [no]")
    seen = look(Backup(folder=str(tmp_path / "not" / "mounted")))
    assert seen.status is Status.ERROR
    assert "does not exist" in seen.message


@pytest.mark.parametrize(
    ("sizes", "wanted", "status", "text"),
    [
        ((100, 110, 90, 105), ">= 80%", Status.PASSED, "got 105% of the median of 3 before (100 bytes)"),
        ((100, 110, 90, 40), ">= 80%", Status.FAILED, "got 40% of the median of 3 before (100 bytes)"),
        ((40,), ">= 80%", Status.INCONCLUSIVE, "got there is none before"),
    ],
)
def test_size_against_those_before(tmp_path: Path, sizes: Any, wanted: str, status: Status, text: str) -> None:
    for number, size in enumerate(sizes):
        made(tmp_path, f"{number}.bin", b"\x00" * size, timedelta(hours=10 * (len(sizes) - number)))
    seen = look(Backup(folder=str(tmp_path), size=wanted), clock=FakeClock(NOW))
    assert seen.status is status, told(seen)
    assert text in line(seen, "its size against those before")


def test_what_lies_beside_and_links_do_not_count(tmp_path: Path) -> None:
    made(tmp_path, "a.gz", b"\x00" * 500)
    made(tmp_path, "a.gz.sha256", b"0123")
    made(tmp_path, ".part", b"0123")
    (tmp_path / "latest").symlink_to(tmp_path / "a.gz")
    seen = look(Backup(folder=str(tmp_path), size=">= 80%"), clock=FakeClock(NOW))
    assert seen.status is Status.INCONCLUSIVE
    assert line(seen, "full backups looked at").endswith("got 1 [yes]")
    assert "got a.gz of 2026" in told(seen)[0]


def test_size_on_the_first_run_and_against_the_release_before(tmp_path: Path) -> None:
    made(tmp_path, "a", b"\x00" * 500)
    first = {"size": ">= 80%", "first_run": "absolute", "least_size": "1kB"}
    assert look(Backup(folder=str(tmp_path), **first), clock=FakeClock(NOW)).status is Status.FAILED
    first["least_size"] = "500"
    assert look(Backup(folder=str(tmp_path), **first), clock=FakeClock(NOW)).status is Status.PASSED
    memory = Remembered(previous={"backup/full": {"size": 1000}})
    seen = look(Backup(folder=str(tmp_path), size=">= 80%"), clock=FakeClock(NOW), memory=memory)
    assert line(seen, "its size against those before").endswith("got 50% of that of 1.3.0 (1.0 kB) [no]")


def test_location(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = made(tmp_path / "data", "a", b"x")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    clock = FakeClock(NOW)
    assert look(Backup(folder="link", location="data"), root=tmp_path, clock=clock).status is Status.PASSED
    seen = look(Backup(folder="link", outside="data"), root=tmp_path, clock=clock)
    assert seen.status is Status.FAILED
    assert line(seen, "location") == f"location: expected outside of {tmp_path}/data, got 1 of 1 elsewhere: {path} [no]"


RANDOM = bytes(range(256)) * 8
AGE = b"age-encryption.org/v1\n-> X25519 abc\ndef\n--- ghi\n"
PGP = bytes.fromhex("8c0d0409030206c4")


def armour(body: bytes) -> bytes:
    return base64.encodebytes(body)


@pytest.mark.parametrize(
    ("head", "cipher"),
    [
        (b"Salted__" + RANDOM, "openssl"),
        (b"Salted__PGDMP" + b"\x00" * 2000, None),
        (AGE + RANDOM, "age"),
        (AGE + b"-- PostgreSQL database dump\n" * 90, None),
        (b"age-encryption.org/v1\n-- PostgreSQL database dump\n", ""),
        (b"-----BEGIN PGP MESSAGE-----\nVersion: 1\n\n" + armour(PGP + RANDOM), "OpenPGP"),
        (b"-----BEGIN PGP MESSAGE-----\n\ncreate table clients (name text);\n", None),
        (b"-----BEGIN PGP MESSAGE-----\n\n" + armour(b"create table clients (name text);\n" * 40), None),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\n" + armour(AGE + RANDOM), "age"),
        (armour(b"Salted__" + RANDOM), "openssl"),
        (PGP + b"PGDMP" + b"\x00" * 2000, None),
        (bytes.fromhex("8c0d0409030206c4") + RANDOM, "OpenPGP"),
        (bytes.fromhex("c1c04c0301020304") + RANDOM, "OpenPGP"),
        (bytes.fromhex("a302010203040506"), None),
        (b"PGDMP\x01\x0e\x00", ""),
        (b"\x1f\x8b\x08\x00", ""),
        (b"-- PostgreSQL database dump\n", ""),
        (b"create table clients (name text);\n", ""),
        (b"\x07\x91\x88\xfe\x13" * 9, None),
        (b"", None),
    ],
)
def test_encryption_is_known_by_the_first_bytes(head: bytes, cipher: str | None) -> None:
    assert cipher_of(head) == cipher


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (AGE + RANDOM, Status.PASSED, "got all 2 (age, openssl) [yes]"),
        (b"-- PostgreSQL database dump\n", Status.FAILED, "got 1 of 2 not encrypted: b.enc [no]"),
        (b"\x07\x91\x88\xfe" * 9, Status.INCONCLUSIVE, "got 1 of 2 not recognised: b.enc [cannot tell]"),
    ],
)
def test_all_must_be_encrypted(tmp_path: Path, body: bytes, status: Status, text: str) -> None:
    made(tmp_path, "a.enc", b"Salted__" + RANDOM)
    made(tmp_path, "b.enc", body)
    seen = look(Backup(folder=str(tmp_path), encrypted=True), clock=FakeClock(NOW))
    assert seen.status is status
    assert line(seen, "encryption").endswith(text)


def stanza(**changes: Any) -> list[dict[str, Any]]:
    """What pgBackRest 2.50 tells of a stanza with a full and a differential backup."""

    def backup(label: str, kind: str, hours: int) -> dict[str, Any]:
        stop = int((NOW - timedelta(hours=hours)).timestamp())
        return {
            "label": label,
            "type": kind,
            "error": False,
            "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000003"},
            "database": {"id": 1, "repo-key": 1},
            "info": {"delta": 900, "size": 30_000_000, "repository": {"delta": 400, "size": 4_000_000}},
            "timestamp": {"start": stop - 60, "stop": stop},
        }

    whole = {
        "name": "ehr",
        "cipher": "aes-256-cbc",
        "status": {"code": 0, "message": "ok"},
        "repo": [{"key": 1, "cipher": "aes-256-cbc", "status": {"code": 0, "message": "ok"}}],
        "archive": [
            {
                "id": "15-1",
                "database": {"id": 1, "repo-key": 1},
                "min": "000000010000000000000001",
                "max": "000000010000000000000009",
            }
        ],
        "backup": [backup("20260105-020000F", "full", 7), backup("20260105-080000F_20260105-080500D", "diff", 1)],
    }
    return [{**whole, **changes}]


def report(folder: Path, body: Any) -> str:
    (folder / "info.json").write_text(json.dumps(body))
    return str(folder / "info.json")


def test_pgbackrest(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    file = report(tmp_path, stanza())
    seen = look(Backup(pgbackrest=file, encrypted=True, least_size="1MB"), clock=clock)
    assert seen.status is Status.PASSED, told(seen)
    assert "20260105-020000F of 2026-01-05 02:00:00Z, by pgBackRest, 7.0 hours old" in told(seen)[0]
    assert line(seen, "encryption").endswith("got all 1 (aes-256-cbc) [yes]")
    command = (sys.executable, "-c", f"print(open({file!r}).read())")
    assert look(Backup(pgbackrest=command), clock=clock).status is Status.PASSED
    assert look(Backup(pgbackrest=command, within="6h"), clock=clock).status is Status.FAILED
    assert look(Backup(pgbackrest=(sys.executable, "-c", "raise SystemExit('no stanza')"))).message.startswith(
        f"{sys.executable} ended with 1: no stanza"
    )
    assert "did you" not in look(Backup(pgbackrest=file, server="crm")).message
    assert look(Backup(pgbackrest=file, server="crm")).status is Status.ERROR


def test_pgbackrest_tells_what_is_wrong(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    file = report(tmp_path, stanza(status={"code": 99, "message": "other"}))
    seen = look(Backup(pgbackrest=file), clock=clock)
    assert told(seen)[0] == "pgbackrest: expected nothing wrong, got stanza ehr: status 99: other [no]"
    bad = stanza()
    bad[0]["backup"][0]["error"] = True
    seen = look(Backup(pgbackrest=report(tmp_path, bad)), clock=clock)
    assert "got none of 1 is complete [no]" in told(seen)[0]
    assert "page checksum errors" in told(seen)[1]
    plain = stanza(repo=[{"key": 1, "cipher": "none", "status": {"code": 0, "message": "ok"}}])
    seen = look(Backup(pgbackrest=report(tmp_path, plain), encrypted=True), clock=clock)
    assert "1 of 1 not encrypted" in line(seen, "encryption")
    empty = stanza(backup=[], status={"code": 2, "message": "no valid backups"})
    assert look(Backup(pgbackrest=report(tmp_path, empty)), clock=clock).status is Status.FAILED
    seen = look(Backup(pgbackrest=report(tmp_path, {"ehr": 1})))
    assert seen.status is Status.ERROR
    assert "expected the output of: pgbackrest info --output=json" in seen.message


def test_barman_and_walg(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    stamp = str(int((NOW - timedelta(hours=5)).timestamp()))
    done = {"backup_id": "20260105T040000", "status": "DONE", "end_time_timestamp": stamp, "size_bytes": 5_000}
    running = {"backup_id": "20260105T085900", "status": "STARTED"}
    file = report(tmp_path, {"main": [running, done], "_WARNING": "x"})
    seen = look(Backup(barman=file, within="6h"), clock=clock)
    assert seen.status is Status.PASSED, told(seen)
    seen = look(Backup(barman=report(tmp_path, {"main": [{**running, "status": "FAILED"}, done]})), clock=clock)
    assert line(seen, "backup 20260105T085900").endswith("expected complete, got its status is FAILED [no]")
    items = [
        {"backup_name": "base_0000000100000000000000C4", "finish_time": "2026-01-04T10:00:00Z", "compressed_size": 7},
        {
            "backup_name": "base_0000000100000000000000C9_D_0000000100000000000000C4",
            "finish_time": "2026-01-05T08:00:00Z",
        },
    ]
    seen = look(Backup(walg=report(tmp_path, items), within="24h"), clock=clock)
    assert "base_0000000100000000000000C4 of 2026-01-04 10:00:00Z, by WAL-G, 23.0 hours old [yes]" in told(seen)[0]
    assert look(Backup(walg=report(tmp_path, items), encrypted=True), clock=clock).status is Status.INCONCLUSIVE


def test_a_query_and_its_answer(fresh_database: Any) -> None:
    environment: Environment = fresh_database("create table backups (at timestamptz, size bigint, name text)")
    check = Backup(sql="select at, size, name from backups", least_size="1kB")
    assert look(check, environment).status is Status.FAILED
    recent = Backup(sql="select now() - interval '2 hours', 5000, 'nightly'")
    assert look(recent, environment).status is Status.PASSED
    assert look(Backup(sql="select now()"), environment).status is Status.ERROR
    assert look(Backup(sql="select now()::timestamp, 5"), environment).status is Status.ERROR
    assert "gave no size" in look(Backup(sql="select now(), 'NaN'::float8"), environment).message
    assert look(Backup(sql="select null, 5"), environment).status is Status.INCONCLUSIVE
    unsized = Backup(sql="select now(), null", least_size="1kB")
    assert line(look(unsized, environment), "its size").endswith("got the source does not tell [cannot tell]")


LISTING = """<?xml version="1.0"?><ListBucketResult><Contents><Key>ehr/a&amp;b.dump.gpg</Key>
<LastModified>2026-01-05T03:00:00.000Z</LastModified><Size>4000</Size></Contents><Contents><Key>ehr/a.sha256</Key>
<LastModified>2026-01-05T08:00:00.000Z</LastModified><Size>64</Size></Contents></ListBucketResult>"""


def test_a_bucket(http_answer: Any) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-real-secret"}
    source = {"bucket": "backups", "prefix": "ehr/", "endpoint": http_answer(LISTING.encode())}
    seen = look(Backup(s3=source, within="6h", least_size="1kB"), clock=FakeClock(NOW), variables=keys)
    assert seen.status is Status.PASSED, seen.message
    assert "got ehr/a&b.dump.gpg of 2026-01-05 03:00:00Z, by the bucket, 6.0 hours old [yes]" in told(seen)[0]
    assert look(Backup(s3=source, encrypted=True), clock=FakeClock(NOW), variables=keys).status is Status.INCONCLUSIVE
    assert look(Backup(s3=source), variables={}).status is Status.ERROR
    http_answer(b"<ListBucketResult></ListBucketResult>")
    assert look(Backup(s3=source), variables=keys).status is Status.FAILED
    http_answer(b"<html>")
    assert "does the endpoint speak S3?" in look(Backup(s3=source), variables=keys).message


def test_requests_are_signed_as_amazon_documents_it() -> None:
    signer = Signer("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
    at = datetime(2013, 5, 24, tzinfo=UTC)
    url, headers = signed("https://examplebucket.s3.amazonaws.com/", {"prefix": "J", "max-keys": "2"}, signer, at)
    assert url == "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J"
    expected = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    assert headers["Authorization"].endswith(f"Signature={expected}")


def test_an_answer_of_a_service(http_answer: Any) -> None:
    body = {
        "backups": [
            {"at": "2026-01-05T03:00:00Z", "status": "COMPLETED", "size": 4000},
            {"at": "2026-01-05T08:00:00Z", "status": "FAILED"},
        ]
    }
    environment = replace(Environment(name="test"), base_url=http_answer(json.dumps(body).encode()))
    source = {"url": "/backups", "list": "backups", "time": "at", "size": "size", "only": {"status": "COMPLETED"}}
    seen = look(Backup(http=source, within="6h"), environment, clock=FakeClock(NOW))
    assert "of 2026-01-05 03:00:00Z, by the service's answer, 6.0 hours old [yes]" in told(seen)[0]
    assert seen.status is Status.FAILED
    assert told(seen)[1] == "backup backup 2: expected complete, got status is FAILED [no]"
    assert look(Backup(http={**source, "time": "status"}), environment).status is Status.ERROR
    assert look(Backup(http={**source, "list": "none"}), environment).status is Status.FAILED


@pytest.mark.parametrize(
    ("written", "number", "shown"),
    [("100kB", 100_000, "100.0 kB"), ("1.5MB", 1_500_000, "1.5 MB"), ("2GiB", 2**31, "2.1 GB"), ("7", 7, "7 bytes")],
)
def test_sizes_are_read_back(written: str, number: int, shown: str) -> None:
    check = Backup(folder="a", least_size=written)
    assert (check.least_size, shown_bytes(number)) == (number, shown)
    assert Backup(**check.model_dump(mode="json", exclude_unset=True)) == check


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"dump": "a", "folder": "b"},
        {"folder": "a", "decrypt": ["cat"]},
        {"folder": "a", "size": ">= 5"},
        {"folder": "a", "first_run": "absolute"},
        {"folder": "a", "least_size": "5 parsecs"},
        {"sql": "select 1; select 2"},
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Backup(**wrong)


def test_a_listing_that_opens_objects_and_closes_none_ends_soon() -> None:
    """Each of them would be searched to the end of the text for its own."""
    text = "<Contents><Key>" * 200_000
    assert list(s3.contents(text)) == []
    assert s3.value("Key", text) == ""
    two = "<Contents><Key>a&amp;b</Key></Contents> <Contents><Key>c</Key></Contents><Contents>"
    assert [s3.value("Key", each) for each in s3.contents(two)] == ["a&b", "c"]
