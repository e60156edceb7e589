"""Stand-ins for the services that the product buys: they answer as those document it, to the demo's key alone."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from releasegate_demo.place import read_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from releasegate_demo.place import Place

ACCOUNT = "ACDEMO"
BUCKET = "care-documents"
DOMAIN = "ehr.example"
FUNCTIONS = ("send-reminder", "export-notes")
PAGES = {
    "supabase": ("Supabase", ("eu-west-1", "us-east-1"), ("Database", "Auth", "Storage")),
    "resend": ("Resend", ("eu-west-1",), ("Email Sending", "Dashboard")),
    "twilio": ("Twilio", ("Europe",), ("SMS", "Phone Numbers")),
}
"""By vendor: the page's name, its groups, and the components of each group."""


class Vendors(ThreadingHTTPServer):
    """Status pages, accounts, the list of incidents, and functions at the edge."""

    daemon_threads = True

    def __init__(self, place: Place) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.place = place
        self.key = f"demo_{secrets.token_urlsafe(24)}"

    @property
    def version(self) -> str:
        """The release that is deployed, and its functions with it."""
        return str((read_json(self.place.info) or {}).get("version", ""))

    def answer(self, path: str, headers: Any) -> tuple[int, Any]:
        """Status and JSON for a path."""
        first, _, rest = path.partition("?")[0].strip("/").partition("/")
        if first == "status":
            return self._page(rest)
        if first == "functions":
            known = rest.removeprefix("v1/") in FUNCTIONS
            return (200, {"ok": True}) if known else (404, {"code": "NOT_FOUND", "message": "no such function"})
        answer = _ACCOUNTS.get(first)
        return answer(self, rest, headers) if answer else (404, {"message": "no such vendor"})

    def down(self) -> bool:
        """Whether mail is broken."""
        return self.place.broken("mail")

    def _page(self, path: str) -> tuple[int, Any]:
        vendor, _, what = path.partition("/")
        if (vendor, what) == ("cdn", "index.json"):
            return 200, _better_stack()
        if vendor in PAGES and what == "api/v2/summary.json":
            return 200, _summary(vendor, broken=self.down() and vendor == "resend")
        return 404, {"message": "no such page"}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _summary(vendor: str, *, broken: bool) -> dict[str, Any]:
    name, groups, parts = PAGES[vendor]
    page = {"id": vendor, "name": name, "url": f"https://status.{vendor}.example", "updated_at": _now()}
    components: list[dict[str, Any]] = []
    for number, group in enumerate(groups):
        components.append({"id": f"g{number}", "name": group, "status": "operational", "group": True, "group_id": None})
        components += [
            {
                "id": f"c{number}{place}",
                "name": part,
                "status": "major_outage" if broken else "operational",
                "group": False,
                "group_id": f"g{number}",
            }
            for place, part in enumerate(parts)
        ]
    state = {"indicator": "major", "description": "Major Outage"} if broken else {"indicator": "none"}
    return {"page": page, "status": state, "components": components, "incidents": [], "scheduled_maintenances": []}


def _better_stack() -> dict[str, Any]:
    attributes = {"company_name": "Edge Cache", "aggregate_state": "operational", "updated_at": _now()}
    resource = {"status_page_section_id": 1, "public_name": "Static files", "status": "operational"}
    return {
        "data": {"id": "1", "type": "status_page", "attributes": attributes},
        "included": [
            {"id": "1", "type": "status_page_section", "attributes": {"name": "Europe"}},
            {"id": "2", "type": "status_page_resource", "attributes": resource},
        ],
    }


def _resend(server: Vendors, path: str, headers: Any) -> tuple[int, Any]:
    if headers.get("Authorization") != f"Bearer {server.key}":
        return 403, {"statusCode": 403, "name": "invalid_api_key", "message": "API key is invalid"}
    domain = {"id": "d1", "name": DOMAIN, "status": "verified", "region": "eu-west-1"}
    return (200, {"object": "list", "has_more": False, "data": [domain]}) if path == "domains" else (404, {})


def _twilio(server: Vendors, path: str, headers: Any) -> tuple[int, Any]:
    basic = base64.b64encode(f"{ACCOUNT}:{server.key}".encode()).decode()
    if headers.get("Authorization") != f"Basic {basic}":
        return 401, {"code": 20003, "message": "Authenticate", "status": 401}
    account = {"sid": ACCOUNT, "status": "active", "type": "Trial", "auth_token": server.key}
    return (200, account) if path == f"2010-04-01/Accounts/{ACCOUNT}.json" else (404, {"code": 20404, "status": 404})


def _stripe(server: Vendors, path: str, headers: Any) -> tuple[int, Any]:
    if headers.get("Authorization") != f"Bearer {server.key}":
        return 401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}
    return (200, {"object": "balance", "livemode": False, "available": []}) if path == "v1/balance" else (404, {})


def _supabase(server: Vendors, path: str, headers: Any) -> tuple[int, Any]:
    if headers.get("apikey") != server.key:
        return 400, {"statusCode": "403", "error": "Unauthorized", "message": "Invalid Compact JWS"}
    if path != f"storage/v1/bucket/{BUCKET}":
        return 400, {"statusCode": "404", "error": "Bucket not found", "message": "Bucket not found"}
    return 200, {"id": BUCKET, "name": BUCKET, "public": False}


def _pagerduty(server: Vendors, path: str, headers: Any) -> tuple[int, Any]:
    if headers.get("Authorization") != f"Token token={server.key}":
        return 401, {"error": {"code": 2006, "message": "You are not authorized"}}
    service = {"id": "PEHR001", "type": "service", "summary": "EHR"}
    incident = {
        "id": "PT4KHLK",
        "incident_number": 41,
        "status": "triggered",
        "urgency": "high",
        "created_at": _now(),
        "service": service,
    }
    lists: dict[str, list[Any]] = {"services": [service], "incidents": [incident] if server.down() else []}
    if path not in lists:
        return 404, {"error": {"code": 2100, "message": "Not Found"}}
    return 200, {path: lists[path], "limit": 100, "offset": 0, "more": False, "total": None}


_ACCOUNTS: dict[str, Callable[[Vendors, str, Any], tuple[int, Any]]] = {
    "resend": _resend,
    "twilio": _twilio,
    "stripe": _stripe,
    "supabase": _supabase,
    "pagerduty": _pagerduty,
}


class _Handler(BaseHTTPRequestHandler):
    server: Vendors
    timeout = 30

    def do_GET(self) -> None:
        status, said = self.server.answer(self.path, self.headers)
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.path.startswith("/functions/"):
            self.send_header("X-Version", self.server.version)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Write nothing."""
