"""The authorities that HTTPS trusts are read once for many looks, and never used by two of them at a time."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier

import pytest

from pytest_releasegate.checks.http import Http
from pytest_releasegate.model import Status
from pytest_releasegate.sources import httpwire
from pytest_releasegate.testing import look
from tests.checks.website import Answer, website


@pytest.fixture
def site(tmp_path):
    with website(tmp_path) as made:
        yield made


@pytest.fixture
def read(monkeypatch):
    """How often a bundle was read."""
    made = []
    create = httpwire.create_urllib3_context
    monkeypatch.setattr(httpwire, "create_urllib3_context", lambda: made.append(create()) or made[-1])
    return made


def test_a_bundle_is_read_once(site, read):
    check = Http(url=site.url, ca=site.ca)
    assert [look(check).status for _ in range(5)] == [Status.PASSED] * 5
    assert len(read) == 1


def test_two_looks_at_a_time_have_one_each(site, read):
    both = Barrier(2)
    site.answer = lambda *_: (both.wait(20), Answer())[1]
    looked = look(Http(urls=(site.url, f"{site.url}/b"), ca=site.ca))
    assert (looked.status, len(read)) == (Status.PASSED, 2)


def test_another_authority_under_the_same_name_is_read_anew(site, tmp_path):
    assert look(Http(url=site.url, ca=site.ca)).status is Status.PASSED
    (tmp_path / "other").mkdir()
    with website(tmp_path / "other") as other:
        Path(site.ca).write_bytes(Path(other.ca).read_bytes() + b"\n")
    looked = look(Http(url=site.url, ca=site.ca))
    assert (looked.status, "TLS failed" in looked.message) == (Status.ERROR, True)


def test_a_file_that_is_no_bundle_is_said_to_be_none(site, monkeypatch, tmp_path):
    (tmp_path / "garbage.pem").write_text("garbage")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "garbage.pem"))
    looked = look(Http(url=site.url))
    assert looked.status is Status.ERROR
    assert "TLS failed" in looked.message
    assert "name the authority's file as `ca`" in looked.message
