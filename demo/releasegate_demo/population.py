"""The invented people and records of the demo, the same for the same day."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from releasegate_demo import phrases

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

SEED = 20260401
CLIENTS = 2_000
APPOINTMENTS = 12_000
NOTES = 15_000
PAYMENTS = 6_000
MESSAGES = 4_000
AUDIT = 2_500
PORTAL_ACCOUNTS = 400
TEST_EMAILS = {kind: f"{kind}@example.test" for kind in ("clinician", "admin", "billing", "portal")}
SLOTS = 20  # half hours from 08:00 to 18:00
Row = tuple[Any, ...]


@dataclass(slots=True)
class World:
    """Everything generated so far; rows are in the order of the columns that `fill` names."""

    today: date
    rng: random.Random
    staff: list[tuple[uuid.UUID, str]] = field(default_factory=list)
    clients: list[tuple[int, uuid.UUID]] = field(default_factory=list)
    portal: list[tuple[uuid.UUID, int]] = field(default_factory=list)
    completed: list[tuple[int, int, uuid.UUID, datetime]] = field(default_factory=list)
    users: list[Row] = field(default_factory=list)

    def account(self, email: str) -> uuid.UUID:
        """Add a login that no password opens and return its id."""
        made = uuid.UUID(int=self.rng.getrandbits(128), version=4)
        self.users.append((made, email, "!", self.at(-400)))
        return made

    def at(self, days: int, minutes: int = 720) -> datetime:
        """Return a moment of the day that lies that many days from today."""
        return datetime.combine(self.today, time(0), UTC) + timedelta(days=days, minutes=minutes)

    def having(self, role: str) -> list[uuid.UUID]:
        """Return the ids of the staff with that role; the test account is the first."""
        return [who for who, has in self.staff if has == role]


def fill(connection: psycopg.Connection, today: date) -> None:
    """Insert all rows in the connection's transaction; triggers that write the audit log sleep meanwhile."""
    from psycopg import sql

    world = World(today, random.Random(SEED))  # noqa: S311 - invented people, no secrets
    staff, clients = list(_staff(world)), list(_clients(world))
    portal = list(_portal(world))
    prices: dict[str, Any] = dict(connection.execute("select code, price from billing_codes").fetchall())
    connection.execute("set local session_replication_role = replica")
    _copy(connection, "auth.users (id, email, password_hash, created_at)", world.users)
    _copy(connection, "staff (id, full_name, title, role, created_at)", staff)
    _copy(connection, f"clients ({_CLIENT})", clients)
    _copy(connection, "portal_accounts (id, client_id)", portal)
    _copy(connection, f"appointments ({_APPOINTMENT})", _appointments(world))
    _copy(connection, f"notes ({_NOTE})", _notes(world))
    _copy(connection, f"payments ({_PAYMENT})", _payments(world, prices))
    _copy(connection, f"messages ({_MESSAGE})", _messages(world))
    _copy(connection, f"audit_logs ({_AUDIT})", _audit(world))
    for table in ("clients", "appointments", "notes", "payments", "messages", "audit_logs"):
        top = sql.SQL("select setval(pg_get_serial_sequence({}, 'id'), (select max(id) from {}))")
        connection.execute(top.format(table, sql.Identifier(table)))
    connection.execute(
        "select setval('client_number', %s), setval('receipt_number', %s)", [100_000 + CLIENTS, 500_000 + PAYMENTS]
    )


_CLIENT = "id, number, clinician_id, first_name, last_name, date_of_birth, email, phone, status, created_at, updated_at"
_APPOINTMENT = "id, client_id, clinician_id, starts_at, ends_at, status, reason, created_at, mode"
_NOTE = "id, client_id, author_id, appointment_id, kind, body, status, created_at, signed_at"
_PAYMENT = "id, client_id, recorded_by, billing_code, amount, method, status, receipt, paid_at"
_MESSAGE = "id, client_id, author_id, sender, body, sent_at, read_at"
_AUDIT = "id, user_id, action_type, resource_type, resource_id, action_description, severity, created_at"


def _copy(connection: psycopg.Connection, target: str, rows: Iterable[Row]) -> None:
    with connection.cursor().copy(f"copy {target} from stdin".encode()) as copy:
        for row in rows:
            copy.write_row(row)


def _staff(world: World) -> Iterable[Row]:
    counts = {"clinician": 12, "admin": 3, "billing": 3}
    people = iter(phrases.STAFF)
    for role, count in counts.items():
        for index in range(count):
            name, title = next(people)
            email = TEST_EMAILS[role] if index == 0 else f"{name.split()[-1].lower()}@staff.example.org"
            who = world.account(email)
            world.staff.append((who, role))
            yield who, name, title, role, world.at(-400)


def _clients(world: World) -> Iterable[Row]:
    rng, clinicians = world.rng, world.having("clinician")
    for number in range(1, CLIENTS + 1):
        first, last = rng.choice(phrases.FIRST), rng.choice(phrases.LAST)
        clinician = clinicians[(number - 1) % len(clinicians)]
        world.clients.append((number, clinician))
        birth = date(rng.randint(1938, 2012), rng.randint(1, 12), rng.randint(1, 28))
        email = f"{first}.{last}.{number}@mail.example.org".lower()
        status = rng.choices(("active", "waiting", "discharged"), (80, 8, 12))[0] if number > 12 else "active"
        phone = f"+1 202-555-{rng.randint(100, 199):04d}"
        created = world.at(-rng.randint(30, 390), rng.randint(480, 1080))
        identity = (number, f"C-{100_000 + number}", clinician)
        yield *identity, first, last, birth, email, phone, status, created, created


def _portal(world: World) -> Iterable[Row]:
    for client, _ in world.clients[:PORTAL_ACCOUNTS]:
        email = TEST_EMAILS["portal"] if client == 1 else f"portal.{client}@mail.example.org"
        world.portal.append((world.account(email), client))
    return list(world.portal)


def _appointments(world: World) -> Iterable[Row]:
    rng = world.rng
    theirs: dict[uuid.UUID, list[int]] = {}
    for client, clinician in world.clients:
        theirs.setdefault(clinician, []).append(client)
    number = 0
    for day in range(21, -400, -1):
        weekend = (world.today + timedelta(days=day)).weekday() >= 5 and day != 0
        for clinician, clients in theirs.items():
            for slot in sorted(rng.sample(range(SLOTS), 1 if weekend else rng.randint(5, 8))):
                number += 1
                if number > APPOINTMENTS:
                    return
                yield _appointment(world, number, rng.choice(clients), clinician, day, slot)


def _appointment(world: World, number: int, client: int, clinician: uuid.UUID, day: int, slot: int) -> Row:
    start = world.at(day, 480 + 30 * slot)
    end = start + timedelta(minutes=30)
    weights = (85, 8, 7) if day < 0 else (0, 0, 0)
    status = world.rng.choices(("completed", "cancelled", "no_show"), weights)[0] if day < 0 else "booked"
    if status == "completed":
        world.completed.append((number, client, clinician, end))
    reason, mode = world.rng.choice(phrases.REASONS), world.rng.choice(("in_person", "in_person", "video", "phone"))
    return number, client, clinician, start, end, status, reason, world.at(min(day - 14, -1)), mode


def _notes(world: World) -> Iterable[Row]:
    rng = world.rng
    for number in range(1, NOTES + 1):
        if number <= len(world.completed):
            appointment, client, author, end = world.completed[-number]
            created, kind, visit = end + timedelta(minutes=rng.randint(5, 90)), "progress", appointment
        else:
            client, author = rng.choice(world.clients)
            created, visit = world.at(-rng.randint(1, 380), rng.randint(480, 1080)), None
            kind = rng.choice(("phone", "intake", "phone", "discharge"))
        recent = created > world.at(-3)
        draft = recent and rng.random() < 0.3
        signed = None if draft else created + timedelta(minutes=rng.randint(1, 30))
        yield number, client, author, visit, kind, _body(rng), "draft" if draft else "signed", created, signed


def _body(rng: random.Random) -> str:
    return " ".join((rng.choice(phrases.OPENING), rng.choice(phrases.MIDDLE), rng.choice(phrases.PLAN)))


def _payments(world: World, prices: dict[str, Any]) -> Iterable[Row]:
    rng, desk, codes = world.rng, world.having("billing"), sorted(prices)
    paid = sorted((rng.randint(1, 380) for _ in range(PAYMENTS)), reverse=True)
    for number, days in enumerate(paid, start=1):
        client, _ = rng.choice(world.clients)
        code = rng.choice(codes)
        method = rng.choice(("card", "card", "insurance", "cash", "check"))
        status = rng.choices(("settled", "pending", "refunded"), (92, 6, 2))[0]
        moment = world.at(-days, rng.randint(480, 1080))
        yield number, client, rng.choice(desk), code, prices[code], method, status, f"R-{500_000 + number}", moment


def _messages(world: World) -> Iterable[Row]:
    rng, clinician_of = world.rng, dict(world.clients)
    sent = sorted((rng.randint(1, 240) for _ in range(MESSAGES)), reverse=True)
    for number, days in enumerate(sent, start=1):
        author, client = world.portal[0] if number % 400 == 0 else rng.choice(world.portal)
        mine = rng.random() < 0.6
        moment = world.at(-days, rng.randint(480, 1200))
        read = None if mine and days < 3 else min(moment + timedelta(hours=rng.randint(1, 20)), world.at(0, 0))
        who = (author, "client") if mine else (clinician_of[client], "staff")
        yield number, client, *who, rng.choice(phrases.ASKS if mine else phrases.ANSWERS), moment, read


def _audit(world: World) -> Iterable[Row]:
    rng = world.rng
    days = sorted((rng.randint(1, 90) for _ in range(AUDIT)), reverse=True)
    for number, day in enumerate(days, start=1):
        client, clinician = rng.choice(world.clients)
        moment = world.at(-day, rng.randint(480, 1080))
        yield number, clinician, "phi_access", "clients", str(client), "chart viewed", "info", moment
