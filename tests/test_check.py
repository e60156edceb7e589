"""Judging findings, secrets, and what a check is given."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_releasegate.check import Context, Secrets, SystemClock, counted, find, judge, seconds
from pytest_releasegate.errors import CannotLook
from pytest_releasegate.model import Environment, Finding, Ok, Release, Status
from pytest_releasegate.testing import FakeClock, Remembered

AT = FakeClock().now()
RELEASE = Release(product="shop", version="1.4.0", environment="prod", opened_at=AT)


def context(variables: dict[str, str] | None = None, **environment: Any) -> Context:
    return Context(
        environment=Environment(name="prod", **environment),
        release=RELEASE,
        root=Path(),
        clock=FakeClock(),
        secrets=Secrets(variables or {}),
    )


def finding(ok: Any, *, observe: bool = False) -> Finding:
    return Finding("n", "e", "a", ok, observe)


def test_no_findings_are_an_error() -> None:
    assert judge([]) is Status.ERROR
    assert judge([finding(Ok.YES, observe=True)]) is Status.ERROR


@pytest.mark.parametrize("length", [1, 2, 3])
def test_judge(length: int) -> None:
    for row in itertools.product(Ok, repeat=length):
        worst = Status.INCONCLUSIVE if Ok.CANNOT_TELL in row else Status.PASSED
        expected = Status.FAILED if Ok.NO in row else worst
        assert judge(finding(ok) for ok in row) is expected
        assert judge([*map(finding, row), finding(Ok.NO, observe=True)]) is expected


@pytest.mark.parametrize("ok", [True, False, None, "", "ok", 1])
def test_what_is_no_answer_never_passes(ok: Any) -> None:
    assert judge([finding(ok)]) is Status.INCONCLUSIVE
    assert judge([finding(Ok.YES), finding(ok)]) is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("number", "least", "ok"),
    [(0, 1, Ok.CANNOT_TELL), (1, 1, Ok.YES), (0, 0, Ok.CANNOT_TELL), (2, 3, Ok.CANNOT_TELL), (3, 3, Ok.YES)],
)
def test_counted(number: int, least: int, ok: Ok) -> None:
    found = counted("rows", number, least)
    assert (found.name, found.actual, found.ok) == ("rows looked at", str(number), ok)
    assert found.expected == f">= {max(least, 1)}"


def test_find() -> None:
    assert find("n", expected=1, actual=None, ok=True) == Finding("n", "1", "None", Ok.YES)
    assert find("n", expected=1, actual=2, ok=False).ok is Ok.NO
    assert find("n", expected=1, actual=2, ok=Ok.CANNOT_TELL, observe=True).observe
    assert str(find("n", expected=1, actual=2, ok=False)) == "n: expected 1, got 2"


def test_references() -> None:
    secrets = Secrets({"USER_NAME": "ann", "TOKEN": "hunter22-of-ann", "NESTED": "${env:TOKEN}"})
    assert secrets.resolve("${env:USER_NAME}:${env:TOKEN}!") == "ann:hunter22-of-ann!"
    assert secrets.resolve("$TOKEN ${TOKEN} ${env:MY-TOKEN} ${release.version}") == (
        "$TOKEN ${TOKEN} ${env:MY-TOKEN} ${release.version}"
    )
    assert secrets.resolve("${env:NESTED}") == "${env:TOKEN}"
    assert secrets.scrub("it was hunter22-of-ann.") == "it was ${env:TOKEN}."


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x${env:NONE}", "reference ${env:NONE}: the environment variable NONE is not set\n    export NONE=..."),
        ("${env:EMPTY}", "reference ${env:EMPTY}: the environment variable EMPTY is not set\n    export EMPTY=..."),
        ("${vault:X}", "reference ${vault:X}: unknown source 'vault'\n    known: env, value"),
    ],
)
def test_reference_that_cannot_be_resolved(text: str, what: str) -> None:
    with pytest.raises(CannotLook) as stopped:
        Secrets({"EMPTY": ""}).resolve(text)
    assert str(stopped.value) == what


@pytest.mark.parametrize(
    ("dsn", "passwords"),
    [
        ("postgresql://u:correct-horse@db/shop", ["correct-horse"]),
        ("postgresql://u:p%40ss%2Fword@db/shop", ["p%40ss%2Fword", "p@ss/word"]),
        ("host=db user=u password=correct-horse dbname=x", ["correct-horse"]),
        ("host=db password = 'it\\'s a horse' user=u", ["it's a horse"]),
        ("postgresql://db/shop?password=correct-horse&sslmode=require", ["correct-horse"]),
    ],
)
def test_password_in_a_connection_string(dsn: str, passwords: list[str]) -> None:
    secrets = Secrets({"DSN": dsn})
    secrets.resolve("${env:DSN}")
    for hidden in (dsn, *passwords):
        assert secrets.scrub(f"[{hidden}]") == "[${env:DSN}]"
        assert secrets.scrub_bytes(f"[{hidden}]".encode()) == b"[${env:DSN}]"


def test_secret_is_struck_out_of_json_and_urls() -> None:
    secret = 'a"b\\c d/é&'
    secrets = Secrets({"S": secret})
    secrets.resolve("${env:S}")
    for text in (secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), "/?q=a%22b%5Cc%20d%2F%C3%A9%26"):
        assert "${env:S}" in secrets.scrub(text)
        assert "b\\" not in secrets.scrub(text)
        assert "%22b" not in secrets.scrub(text)


def test_secret_within_another_and_within_a_name() -> None:
    secrets = Secrets({"LONG_TOKEN": "hunter22-long", "SHORT": "hunter22", "NAME": "LONG_TOKEN"})
    for name in ("SHORT", "LONG_TOKEN", "NAME"):
        secrets.resolve(f"${{env:{name}}}")
    assert secrets.scrub("hunter22-long hunter22") == "${env:LONG_TOKEN} ${env:SHORT}"


def test_short_values_and_plain_ones_stay() -> None:
    secrets = Secrets({"PORT": "5432", "HOST": "db.example.com"})
    secrets.resolve("${env:PORT}")
    secrets.resolve("${env:HOST}", secret=False)
    assert secrets.scrub("db.example.com:5432") == "db.example.com:5432"
    assert Secrets({}).scrub("") == ""


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    secrets = Secrets({"S": "hunter22"})
    secrets.resolve("${env:S}")
    assert secrets.scrub_bytes(b"\xff\xfe hunter22 \x00\x80") == b"\xff\xfe ${env:S} \x00\x80"


@pytest.mark.parametrize("mark", ["...", "… (300 characters)", "\n[cut: the first 9 of 12 bytes]\n"])
@pytest.mark.parametrize("length", [6, 10, 14])
def test_what_was_cut_in_the_middle_of_a_secret_is_struck_out_too(mark: str, length: int) -> None:
    secrets = Secrets({"S": "hunter22 of Ann"})
    secrets.resolve("${env:S}")
    assert secrets.scrub(f"it was {'hunter22 of Ann'[:length]}{mark}") == f"it was ${{env:S}}{mark}"


def test_a_cut_secret_is_found_behind_the_beginning_of_another() -> None:
    secrets = Secrets({"DSN": "postgresql://app@db/x", "S": "hunter22 of Ann"})
    secrets.resolve("${env:DSN}${env:S}")
    assert secrets.scrub("postgres refused hunter22 o... and postgresql://a...") == (
        "postgres refused ${env:S}... and ${env:DSN}..."
    )


def test_a_word_that_a_secret_begins_with_stays() -> None:
    secrets = Secrets({"S": "clinician@ehr.example"})
    secrets.resolve("${env:S}")
    assert secrets.scrub("as clinician") == "as clinician"


def test_a_short_secret_is_struck_out_where_it_stands_alone() -> None:
    secrets = Secrets({"S": "tiger", "T": "ab"})
    secrets.resolve("${env:S}${env:T}")
    assert secrets.scrub("scott/tiger, tigers; ab") == "scott/${env:S}, tigers; ab"


@pytest.mark.parametrize("spelled", ["a&amp;b&lt;c d&quot;", 'a&amp;b&lt;c d"', "a%26b%3Cc+d%22"])
def test_a_secret_in_html_and_in_a_form_is_struck_out(spelled: str) -> None:
    secrets = Secrets({"S": 'a&b<c d"'})
    secrets.resolve("${env:S}")
    assert secrets.scrub(f"[{spelled}]") == "[${env:S}]"


def test_values_of_any_shape_are_scrubbed() -> None:
    secrets = Secrets({"S": "hunter22"})
    secrets.resolve("${env:S}")
    value = {"hunter22": [1, None, True, ("x hunter22", 2.5)]}
    assert secrets.scrub_value(value) == {"${env:S}": [1, None, True, ["x ${env:S}", 2.5]]}


def test_secrets_do_not_show_themselves() -> None:
    given = context({"S": "hunter22"})
    given.resolve("${env:S}")
    assert "hunter22" not in repr(given)


def test_variables_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELEASEGATE_SAMPLE", "of the process")
    assert Secrets().resolve("${env:RELEASEGATE_SAMPLE}") == "of the process"


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/healthz", "https://ehr.example.com/app/healthz"),
        ("healthz", "https://ehr.example.com/app/healthz"),
        ("", "https://ehr.example.com/app/"),
        ("http://other/x", "http://other/x"),
        ("/go?to=http://other/x", "https://ehr.example.com/app/go?to=http://other/x"),
        ("${env:ELSEWHERE}/x", "https://elsewhere/x"),
        ("/${value:tenant}", "https://ehr.example.com/app/7"),
    ],
)
def test_url(path: str, url: str) -> None:
    variables = {"BASE": "https://ehr.example.com", "ELSEWHERE": "https://elsewhere"}
    given = context(variables, base_url="${env:BASE}/app/", values={"tenant": "7"})
    assert given.url(path) == url


def test_url_without_a_base() -> None:
    with pytest.raises(CannotLook, match="environment 'prod' has no base_url"):
        context().url("/healthz")


def test_named_values() -> None:
    given = context({"TOKEN": "hunter22"}, values={"header": "Bearer ${env:TOKEN}", "odd": "${env:NONE}"})
    assert given.resolve("${value:header}") == "Bearer hunter22"
    assert given.secrets.scrub("hunter22") == "${env:TOKEN}"
    with pytest.raises(CannotLook, match="has no such value\n    did you mean 'header'"):
        given.resolve("${value:headr}")
    with pytest.raises(CannotLook, match="declare it under `values:`"):
        context().resolve("${value:x}")
    with pytest.raises(CannotLook, match="NONE is not set"):
        given.resolve("${value:odd}")


def test_remaining() -> None:
    given = context()
    assert (given.remaining(), given.remaining(5)) == (60.0, 5)
    given.deadline = 100.0
    given.clock.sleep(70)
    assert (given.remaining(), given.remaining(5)) == (30.0, 5)
    given.clock.sleep(30)
    with pytest.raises(CannotLook, match="the gate's time is used up"):
        given.remaining()


@pytest.mark.parametrize(
    ("media_type", "is_text"),
    [
        *((name, True) for name in ("text/plain", "TEXT/HTML; charset=utf-8", "application/json", "application/sql")),
        *(
            (name, True)
            for name in ("application/har+json ; v=1", "image/svg+xml", "application/x-www-form-urlencoded")
        ),
        *((name, False) for name in ("image/png", "application/zip", "application/octet-stream", "video/webm")),
    ],
)
def test_attached_text_is_scrubbed_and_the_rest_untouched(media_type: str, is_text: bool) -> None:
    given = context({"S": "hunter22"})
    given.resolve("${env:S}")
    given.attach("of hunter22", media_type, b"<hunter22>")
    ((evidence, body),) = given.attached
    assert body == (b"<${env:S}>" if is_text else b"<hunter22>")
    assert (evidence.name, evidence.size, len(evidence.sha256)) == ("of ${env:S}", len(body), 64)


def test_digest_is_that_of_what_is_kept() -> None:
    given = context()
    given.attach("a", "text/plain", b"abc")
    assert given.attached[0][0].sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_kept_and_recorded() -> None:
    given = context()
    assert given.recorded("rows") is None
    given.keep("rows", 3)
    assert given.kept == {"rows": 3}
    given.memory = Remembered(this={"rows": 4}, previous={"rows": 5})
    this, previous = given.recorded("rows"), given.recorded("rows", of="previous")
    assert this is not None
    assert previous is not None
    assert (this.value, previous.value) == (4, 5)
    assert given.recorded("none") is None


def test_system_clock_is_aware_and_runs_forward() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0)
    assert clock.monotonic() >= before
    assert str(clock.now().tzinfo) == "UTC"


def test_seconds() -> None:
    assert (seconds(None, 3.0), seconds(AT - AT, 3.0)) == (3.0, 0.0)
