"""Traces of Playwright without what is secret or of people: rewritten line by line, by lists of what may stay."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from pytest_releasegate.sources.striking import STRUCK, Striker
from pytest_releasegate.sources.tracefinds import found_in, is_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_releasegate.check import Secrets

__all__ = ["HEADERS", "NotRedacted", "redacted"]

HEADERS = frozenset({
    "accept", "accept-encoding", "accept-language", "accept-ranges", "age", "allow", "cache-control",
    "connection", "content-encoding", "content-language", "content-length", "content-security-policy",
    "content-type", "date", "etag", "expires", "host", "keep-alive", "last-modified", "location", "origin",
    "retry-after", "server", "strict-transport-security", "transfer-encoding", "user-agent", "vary", "via",
    "x-content-type-options", "x-request-id",
})  # fmt: skip
"""The headers whose values may stay."""
_ADDRESSES = {"url", "frameUrl", "redirectURL", "location", "referer", "href", "src", "action", "baseURL", "formaction"}
_OF_FORMAT = {"type", "callId", "parentId", "pageId", "frameId", "class", "method", "phase", "file", "_file", "_sha1"}
_OF_FORMAT |= {"sha1", "pageref", "_frameref", "beforeSnapshot", "afterSnapshot", "inputSnapshot", "snapshotName"}
_OPTIONS = {"baseURL", "viewport", "deviceScaleFactor", "isMobile", "hasTouch", "locale", "timezoneId", "userAgent"}
_PARAMS = _OF_FORMAT | {
    "button", "clickCount", "colorScheme", "delay", "event", "expression", "force", "height", "isNot", "message",
    "modifiers", "name", "noWaitAfter", "polling", "position", "selector", "source", "state", "strict", "target",
    "timeout", "title", "trial", "url", "useInnerText", "viewportSize", "visible", "waitId", "waitUntil", "width",
}  # fmt: skip
_ENTRY = {"pageref", "startedDateTime", "time", "cache", "timings", "serverIPAddress", "_frameref", "_resourceType"}
_REQUEST = {"method", "url", "httpVersion"}
_RESPONSE = {"statusText", "httpVersion", "redirectURL", "_failureText"}
_PLAIN = {"input", "log", "stdout", "stderr", "error"}
_LARGEST, _MOST_LINES = 400 * 1024**2, 64 * 1024**2
_OF_LINES = (".trace", ".network", ".stacks")


class NotRedacted(ValueError):
    """A trace that cannot be read, so that nobody knows what is in it."""


def redacted(trace: Path, secrets: Secrets, values: Mapping[str, str] | None = None, *, pages: bool = True) -> bytes:
    """The trace without cookies, bodies, what was typed, pictures and secrets; without its pages unless `pages`.

    `values` are further values to strike out, with what each is; raises `NotRedacted`.
    """
    try:
        with ZipFile(trace) as source:
            sizes = {entry.filename: entry.file_size for entry in source.infolist()}
            lines = sum(size for name, size in sizes.items() if name.endswith(_OF_LINES))
            if sum(sizes.values()) > _LARGEST or lines > _MOST_LINES:
                raise NotRedacted(f"its content is larger than {_LARGEST} bytes, or its lines than {_MOST_LINES}")
            return _Rewriting(source, secrets, values or {}, pages).write()
    except (OSError, BadZipFile, ValueError, KeyError, TypeError, AttributeError, RecursionError) as wrong:
        raise wrong if isinstance(wrong, NotRedacted) else NotRedacted(f"{type(wrong).__name__}: {wrong}") from None


class _Rewriting:
    def __init__(self, source: ZipFile, secrets: Secrets, values: Mapping[str, str], pages: bool) -> None:
        self.source = source
        self.pages = pages
        names = source.namelist()
        texts = {name: source.read(name).decode() for name in names if name.endswith(_OF_LINES)}
        self.events = {name: _lines(text) for name, text in texts.items() if not name.endswith(".stacks")}
        self.stacks = {name: json.loads(text) for name, text in texts.items() if name.endswith(".stacks")}
        found = found_in(event for events in self.events.values() for event in events)
        self.striker = Striker(secrets, {**found, **values}, within=texts.values())
        self.secrets, self.values = secrets, {**found, **values}
        self.files: set[str] = set()

    def write(self) -> bytes:
        """The new archive: what its lines still refer to, and no more."""
        body = io.BytesIO()
        with ZipFile(body, "w", ZIP_DEFLATED) as target:
            for name, events in self.events.items():
                kept = (self._event(event) for event in events)
                target.writestr(name, "".join(f"{_dumped(event)}\n" for event in kept if event))
            for name, stacks in self.stacks.items():
                target.writestr(name, _dumped(self._clean(stacks)))
            for name in self.source.namelist():
                if name in self.files or name.startswith("src/"):
                    target.writestr(name, self._file(name))
        return body.getvalue()

    def _file(self, name: str) -> bytes:
        body = self.source.read(name)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return body  # a font
        striker = Striker(self.secrets, self.values, within=[text])
        return (striker.values(text) if name.startswith("src/") else striker.text(text)).encode()

    def _event(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """The event as it may be kept; None for one that is not, or whose type is not known."""
        kind = event.get("type")
        if kind == "context-options":
            return self._cleaned({**event, "options": _only(event.get("options"), _OPTIONS)})
        if kind in {"before", "after", "action", "event"}:
            return self._action(event)
        if kind == "frame-snapshot":
            return {**event, "snapshot": self._page(event["snapshot"])} if self.pages else None
        if kind == "resource-snapshot":
            return {**event, "snapshot": self._entry(event["snapshot"])}
        if kind == "console":
            return self._cleaned({**event, "args": []})
        if kind == "object":
            return self._cleaned({**event, "initializer": {}})
        return self._cleaned(event) if kind in _PLAIN else None

    def _action(self, event: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in event.items() if key not in {"params", "result", "attachments"}}
        clean = self._cleaned(kept)
        if "params" in event:
            params = event["params"] or {}
            clean["params"] = {
                key: self._clean(value, key) if key in _PARAMS else _told(value) for key, value in params.items()
            }
        if isinstance(event.get("result"), dict):
            clean["result"] = {key: _told(value) for key, value in event["result"].items()}
        return clean

    def _page(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        given = snapshot.get("resourceOverrides") or []
        overrides = [self._override(one) for one in given if _file_of(one) or "ref" in one]
        rest = {key: value for key, value in snapshot.items() if key not in {"html", "resourceOverrides"}}
        return {**self._cleaned(rest), "html": self._node(snapshot["html"]), "resourceOverrides": overrides}

    def _override(self, override: dict[str, Any]) -> dict[str, Any]:
        if file := _file_of(override):
            self.files.add(file)
        return self._cleaned(override)

    def _node(self, node: Any) -> Any:
        """A node of a page: a text, a reference to an earlier page, or an element."""
        if isinstance(node, str):
            return self.striker.text(node)
        if not isinstance(node, list) or not node or not isinstance(node[0], str):
            return node
        if len(node) == 1:
            return node
        tag, attributes, *children = node
        return [tag, self._attributes(tag, attributes or {}), *(self._node(child) for child in children)]

    def _attributes(self, tag: str, attributes: dict[str, Any]) -> dict[str, Any]:
        hidden = {"value", "__playwright_value_", "content"} if is_private(tag, attributes) else set()
        return {
            name: (STRUCK if value else value) if name in hidden else self._clean(value, name)
            for name, value in attributes.items()
        }

    def _entry(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A request and its answer; the body stays only where it is needed to draw the page: style sheets and fonts."""
        kept: dict[str, Any] = self._cleaned(_only(entry, _ENTRY))
        for side, names in (("request", _REQUEST), ("response", _RESPONSE)):
            given = entry.get(side) or {}
            kept[side] = {**self._cleaned(_only(given, names)), "cookies": [], "headers": list(self._headers(given))}
        asked = entry.get("request", {}).get("queryString") or []
        kept["request"]["queryString"] = [{"name": self.striker.text(one["name"]), "value": STRUCK} for one in asked]
        content = entry.get("response", {}).get("content") or {}
        kept["response"]["content"] = self._clean(_only(content, {"mimeType"}))
        if (file := _file_of(content)) and re.match(r"text/css|(application/)?(x-)?font", content.get("mimeType", "")):
            self.files.add(file)
            kept["response"]["content"] |= {key: content[key] for key in ("_file", "_sha1") if key in content}
        return kept

    def _headers(self, message: dict[str, Any]) -> Iterator[dict[str, str]]:
        for header in message.get("headers") or []:
            name = str(header["name"])
            kept = name.lower() in HEADERS
            yield {"name": name, "value": self._clean(header["value"], name.lower()) if kept else STRUCK}

    def _cleaned(self, given: dict[str, Any]) -> dict[str, Any]:
        return {name: self._clean(part, name) for name, part in given.items()}

    def _clean(self, value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            if key in _OF_FORMAT:
                return value
            return self.striker.address(value) if key in _ADDRESSES else self.striker.text(value)
        if isinstance(value, dict):
            return self._cleaned(value)
        return [self._clean(part, key) for part in value] if isinstance(value, list) else value


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _only(given: Any, names: Iterable[str]) -> dict[str, Any]:
    """What stays of an object: these names, and every number and flag."""
    names = set(names)
    return {key: value for key, value in (given or {}).items() if key in names or isinstance(value, int | float)}


def _told(value: Any) -> Any:
    """A value in Playwright's spelling: numbers, flags and kinds of objects stay, texts are of people."""
    if isinstance(value, str):
        return value if re.fullmatch(r"<\w+>", value) else STRUCK
    if isinstance(value, dict):
        if "value" in value and "handles" in value:
            return {"value": _told(value["value"]), "handles": []}
        return value if value.keys() <= {"n", "b", "v"} else {"s": STRUCK}
    return value if value is None or isinstance(value, int | float) else {"s": STRUCK}


def _file_of(given: dict[str, Any]) -> str:
    """Where in the archive a body lies; older traces name it by its digest alone."""
    named = given.get("_file") or given.get("file")
    digest = given.get("_sha1") or given.get("sha1")
    return str(named or (f"resources/{digest}" if digest else ""))
