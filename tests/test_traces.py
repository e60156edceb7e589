"""Traces that are rewritten: what may stay, what must go, and what cannot be read; and archives of requests."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.check import Secrets
from pytest_releasegate.sources import traces
from pytest_releasegate.sources.har import MOST_ENTRIES, Exchange, archive
from pytest_releasegate.sources.striking import Striker, address
from pytest_releasegate.sources.traces import NotRedacted, redacted

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "tr0ub4dor&3"


def known() -> Secrets:
    secrets = Secrets({})
    secrets.add(SECRET, "env:PASSWORD")
    return secrets


def clean(tmp_path: Path, *events: Any, files: dict[str, bytes] | None = None) -> zipfile.ZipFile:
    """The events as a trace, redacted and opened."""
    with zipfile.ZipFile(tmp_path / "trace.zip", "w") as raw:
        raw.writestr("trace.trace", "\n".join(json.dumps(event) for event in events))
        for name, body in (files or {}).items():
            raw.writestr(name, body)
    (tmp_path / "clean.zip").write_bytes(redacted(tmp_path / "trace.zip", known()))
    return zipfile.ZipFile(tmp_path / "clean.zip")


def event(tmp_path: Path, given: dict[str, Any]) -> dict[str, Any]:
    (line,) = clean(tmp_path, given).read("trace.trace").splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def entry(request: dict[str, Any] | None = None, response: dict[str, Any] | None = None) -> dict[str, Any]:
    asked = {"method": "POST", "url": "https://shop.test/in?token=abc#x=y", **(request or {})}
    snapshot = {"time": 1.5, "_frameref": "frame@1", "note": "of a later version", "request": asked}
    return {"type": "resource-snapshot", "snapshot": {**snapshot, "response": {"status": 200, **(response or {})}}}


def page(*nodes: Any) -> dict[str, Any]:
    return {"type": "frame-snapshot", "snapshot": {"html": ["HTML", {}, ["BODY", {}, *nodes]], "resourceOverrides": []}}


def test_events_of_a_type_that_is_not_known_do_not_stay(tmp_path: Path) -> None:
    trace = clean(tmp_path, {"type": "clipboard", "text": "mine"}, {"type": "log", "message": "clicking"})
    assert [json.loads(line)["type"] for line in trace.read("trace.trace").splitlines()] == ["log"]


def test_a_request_keeps_method_path_status_and_times_alone(tmp_path: Path) -> None:
    headers = [
        {"name": "Cookie", "value": "sid=s3cret-session"},
        {"name": "Authorization", "value": "Bearer abcdef123456"},
        {"name": "Content-Type", "value": "text/html"},
    ]
    posted = {"mimeType": "text/plain", "text": "name=Alice", "_file": "resources/body.dat"}
    asked = {"cookies": [{"name": "sid", "value": "s3cret-session"}], "headers": headers, "postData": posted}
    given = entry(asked, {"content": {"_file": "resources/a.html", "mimeType": "text/html"}})
    trace = clean(tmp_path, given, files={"resources/body.dat": b"name=Alice", "resources/a.html": b"Alice"})
    assert trace.namelist() == ["trace.trace"]
    kept = json.loads(trace.read("trace.trace"))["snapshot"]
    assert [header["value"] for header in kept["request"]["headers"]] == ["***", "***", "text/html"]
    assert kept["request"]["url"] == "https://shop.test/in?token=***"
    assert kept["request"]["cookies"] == []
    assert "postData" not in kept["request"]
    assert kept["response"]["status"] == 200
    assert "note" not in kept


@pytest.mark.parametrize(("field", "name"), [("_file", "resources/a.css"), ("_sha1", "a.css")])
def test_style_sheets_stay_and_are_cleaned(tmp_path: Path, field: str, name: str) -> None:
    sheet = f"a {{background: url(/a.png?user=Alice)}} /* {SECRET} */".encode()
    trace = clean(
        tmp_path, entry(None, {"content": {"mimeType": "text/css", field: name}}), files={"resources/a.css": sheet}
    )
    assert trace.read("resources/a.css") == b"a {background: url(/a.png?user=***)} /* ${env:PASSWORD} */"


@pytest.mark.parametrize(
    "attributes",
    [
        {"type": "password"},
        {"type": "hidden"},
        {"autocomplete": "one-time-code"},
        {"autocomplete": "cc-number"},
        {"name": "user[password]", "type": "text"},
        {"id": "api-key"},
    ],
)
def test_what_a_private_field_holds_is_struck_out_wherever_it_is(tmp_path: Path, attributes: dict[str, str]) -> None:
    field = ["INPUT", {"__playwright_value_": "blue-moon", "value": "blue-moon", **attributes}]
    trace = clean(tmp_path, page(field, "you said blue-moon"), {"type": "log", "message": "got blue-moon"})
    assert b"blue-moon" not in trace.read("trace.trace")


def test_other_fields_and_texts_stay(tmp_path: Path) -> None:
    given = page(["INPUT", {"__playwright_value_": "Monday", "name": "day"}], ["P", {}, "A text"], [[1, 4]])
    assert event(tmp_path, given) == given


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("fill", {"selector": "#name", "value": "Alice"}),
        ("type", {"selector": "#name", "text": "Alice"}),
        ("press", {"key": "Alice"}),
        ("addCookies", {"cookies": [{"name": "a", "value": "Alice"}]}),
        ("setExtraHTTPHeaders", {"headers": [{"name": "x", "value": "Alice"}]}),
        ("evaluateExpression", {"expression": "a => a", "arg": {"value": {"s": "Alice"}, "handles": []}}),
        ("setInputFiles", {"payloads": [{"name": "a", "buffer": "Alice"}]}),
        ("anything new", {"whom": {"deep": ["Alice"]}}),
    ],
)
def test_what_was_typed_or_set_is_gone(tmp_path: Path, method: str, params: dict[str, Any]) -> None:
    kept = event(tmp_path, {"type": "before", "method": method, "params": params, "callId": "c@1"})
    assert "Alice" not in json.dumps(kept)
    assert kept["params"].keys() == params.keys()
    assert kept["callId"] == "c@1"


def test_what_an_action_gave_back_keeps_numbers_and_kinds(tmp_path: Path) -> None:
    result = {"page": "<Page>", "count": 3, "value": {"s": "Alice"}, "flag": {"b": True}, "text": "Alice"}
    kept = event(tmp_path, {"type": "after", "result": result, "attachments": [{"name": "a"}]})
    told = {"page": "<Page>", "count": 3, "value": {"s": "***"}, "flag": {"b": True}, "text": "***"}
    assert kept == {"type": "after", "result": told}


def test_options_of_a_browser_keep_no_credentials(tmp_path: Path) -> None:
    options = {
        "baseURL": "https://a:b@shop.test",
        "httpCredentials": {"password": "x"},
        "storageState": {"cookies": []},
    }
    kept = event(tmp_path, {"type": "context-options", "options": options})
    assert kept["options"] == {"baseURL": "https://***@shop.test"}


def test_what_is_no_archive_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "trace.zip").write_bytes(b"no archive")
    with pytest.raises(NotRedacted, match="BadZipFile"):
        redacted(tmp_path / "trace.zip", known())


@pytest.mark.parametrize("given", ["no event", {"type": "frame-snapshot"}, {"type": "before", "params": 3}])
def test_a_trace_that_cannot_be_understood_is_not_kept(tmp_path: Path, given: object) -> None:
    with pytest.raises(NotRedacted):
        clean(tmp_path, given)


def test_a_trace_that_is_too_large_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_LARGEST", 10)
    with pytest.raises(NotRedacted, match="larger than"):
        clean(tmp_path, {"type": "log", "message": "twelve bytes and more"})


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://a.test/x?q=Alice&b", "https://a.test/x?q=***&***"),
        ("https://a.test/x?Alice", "https://a.test/x?***"),
        ("/x?q=1#main", "/x?q=***#main"),
        ("/x#access_token=abc", "/x"),
        ("data:text/html,Alice", "data:,"),
        ("about:blank", "about:blank"),
        ("style.css", "style.css"),
        ("", ""),
    ],
)
def test_an_address_keeps_the_names_of_its_query(url: str, told: str) -> None:
    assert address(url) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            'navigating to "https://a.test/?q=Alice&x=1", waiting',
            'navigating to "https://a.test/?q=***&x=***", waiting',
        ),
        ('  fill("Alice")', "  fill(***)"),
        ("Bearer abc.def-123", "Bearer ***"),
        ("token eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl", "token ***"),
        ('<input value="Alice"/>', "<input value=***/>"),
        ("1 + 1 = 2 (really)", "1 + 1 = 2 (really)"),
        (SECRET, "${env:PASSWORD}"),
        ("tr0ub4dor%263", "${env:PASSWORD}"),
        ("eCB0cjB1YjRkb3ImMyB5", "eCB${env:PASSWORD}5"),
    ],
)
def test_what_is_secret_by_its_place_or_known_is_struck_out(text: str, told: str) -> None:
    assert Striker(known()).text(text) == told


def test_an_archive_is_bounded_and_says_so() -> None:
    exchanges = [Exchange("GET", f"https://a.test/{number}") for number in range(MOST_ENTRIES + 5)]
    log = archive(exchanges, 2_000, Striker(known()))["log"]
    assert len(log["entries"]) == MOST_ENTRIES
    assert log["comment"] == f"the first {MOST_ENTRIES} of 2000 requests"


def test_a_request_without_an_answer_is_in_the_archive_with_its_reason() -> None:
    failed = Exchange("GET", "https://a.test/x", failure="net::ERR_CONNECTION_REFUSED")
    (entry,) = archive([failed], 1, Striker(known()))["log"]["entries"]
    assert (entry["response"]["status"], entry["_error"]) == (0, "net::ERR_CONNECTION_REFUSED")
