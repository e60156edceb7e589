"""Ways to break the demo, each with the way back; what a break needs to heal lies in its file in the state folder."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from releasegate_demo.place import Place, read_json, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from releasegate_demo.info import DemoInfo

Saved = dict[str, Any]
LOST = 300
ORPHAN = 999_999_999
INDEX = "public.clients_number_key"
INDEX_OF = {"001": "public.clients_name_idx", "002": "public.audit_logs_created_at_idx"}
INDEX_OF["003"] = "public.clients_preferred_name_idx"


@dataclass(frozen=True, slots=True)
class Break:
    """One way to break the demo."""

    title: str
    """What is broken."""
    notice: str
    """What a user of the application would notice."""
    make: Callable[[psycopg.Connection], Saved] | None = None
    """Break the database and return what healing needs; None where the application itself looks for the break."""
    heal: Callable[[psycopg.Connection, Saved], None] | None = None
    """Undo it."""


def _open_clients(connection: psycopg.Connection) -> Saved:
    query = """select policyname, qual, with_check from pg_policies
               where schemaname = 'public' and policyname in ('clients_select', 'clients_update')"""
    saved = {name: [qual, check] for name, qual, check in connection.execute(query)}
    connection.execute(b"drop policy clients_select on public.clients; drop policy clients_update on public.clients")
    connection.execute(b"create policy clients_select on public.clients for select to authenticated using (true)")
    connection.execute(
        b"create policy clients_update on public.clients for update to authenticated using (true) with check (true)"
    )
    return saved


def _close_clients(connection: psycopg.Connection, saved: Saved) -> None:
    connection.execute(b"drop policy clients_select on public.clients; drop policy clients_update on public.clients")
    for name, command in (("clients_select", "select"), ("clients_update", "update")):
        qual, check = saved[name]
        text = f"create policy {name} on public.clients for {command} to authenticated using ({qual})"
        connection.execute((text + (f" with check ({check})" if check else "")).encode())


def _orphan(connection: psycopg.Connection) -> Saved:
    # foreign keys and triggers sleep, as in a careless restore
    connection.execute(b"set local session_replication_role = replica")
    row = connection.execute(
        "insert into public.notes (client_id, author_id, body)"
        " select %s, author_id, 'Note of a chart that is gone.' from public.notes order by id limit 1 returning id",
        [ORPHAN],
    ).fetchone()
    return {"id": row[0] if row else None}


def _adopt(connection: psycopg.Connection, saved: Saved) -> None:
    connection.execute(b"set local session_replication_role = replica")
    connection.execute("delete from public.notes where id = %s", [saved["id"]])


def _set_valid(connection: psycopg.Connection, valid: bool) -> None:
    connection.execute("update pg_index set indisvalid = %s where indexrelid = %s::regclass", [valid, INDEX])


def _spoil(connection: psycopg.Connection) -> Saved:
    _set_valid(connection, valid=False)
    return {}


_UNREFERENCED = b"""copy (select a.* from public.appointments a
  where not exists (select from public.notes n where n.appointment_id = a.id) order by a.id limit 300) to stdout"""


def _lose(connection: psycopg.Connection) -> Saved:
    with connection.cursor().copy(_UNREFERENCED) as copy:
        data = b"".join(bytes(part) for part in copy)
    ids = [int(line.split(b"\t", 1)[0]) for line in data.splitlines()]
    connection.execute(b"set local session_replication_role = replica")
    connection.execute("delete from public.appointments where id = any(%s)", [ids])
    return {"rows": base64.b64encode(data).decode()}


def _restore(connection: psycopg.Connection, saved: Saved) -> None:
    connection.execute(b"set local session_replication_role = replica")
    with connection.cursor().copy(b"copy public.appointments from stdin") as copy:
        copy.write(base64.b64decode(saved["rows"]))


def _forget(connection: psycopg.Connection) -> Saved:
    row = connection.execute(
        "select version, to_jsonb(m)::text from public.schema_migrations m order by version desc limit 1"
    ).fetchone()
    if row is None:
        raise ValueError("no migration is applied: nothing to forget")
    version, record = row
    found = connection.execute("select pg_get_indexdef(%s::regclass)", [INDEX_OF[version]]).fetchone()
    connection.execute("delete from public.schema_migrations where version = %s", [version])
    connection.execute(f"drop index {INDEX_OF[version]}".encode())
    return {"record": record, "index": found[0] if found else ""}


def _remember(connection: psycopg.Connection, saved: Saved) -> None:
    connection.execute(
        "insert into public.schema_migrations"
        " select * from jsonb_populate_record(null::public.schema_migrations, %s::jsonb) on conflict do nothing",
        [saved["record"]],
    )
    connection.execute(saved["index"].replace("CREATE INDEX ", "CREATE INDEX IF NOT EXISTS ", 1).encode())


BREAKS: dict[str, Break] = {
    "errors": Break("Every fifth page answers 500", "Pages fail now and then, and work when they are loaded again."),
    "latency": Break("Every page takes 1.5 seconds longer", "The application feels slow everywhere."),
    "rls": Break(
        "A policy of clients lets every account in",
        "A clinician finds clients of other clinicians in the list, and can change them.",
        _open_clients,
        _close_clients,
    ),
    "orphan": Break(
        "A note belongs to a client that does not exist, though the foreign key says valid",
        "Nothing yet: the note shows nowhere, and counts differ.",
        _orphan,
        _adopt,
    ),
    "index": Break(
        "The unique index on client numbers is invalid",
        "Looking up a client by number becomes slow.",
        _spoil,
        lambda connection, _saved: _set_valid(connection, valid=True),
    ),
    "health": Break("The SMS service is down", "Clients get no reminders; /healthz answers 503."),
    "mail": Break(
        "The mail vendor has an outage, and our own people were paged", "Clients get no e-mail; the application works."
    ),
    "log": Break("Personal data is no longer masked in the log", "Nothing; the log holds e-mail addresses and names."),
    "guards": Break(
        "The session's cookie lost its guards, and pages bind no browser to HTTPS",
        "Nothing; scripts can read the session, and a plain address may be spied on.",
    ),
    "flow": Break("Saving a note says so and stores nothing", "Progress notes are gone after they were saved."),
    "login": Break("No member of staff can log in", "The right password is refused."),
    "counts": Break(
        f"{LOST} appointments are deleted", "Booked appointments are missing from the schedule.", _lose, _restore
    ),
    "migration": Break(
        "The newest migration left no record, and an index of it is missing",
        "Nothing at first; the next migration run fails, some lists are slow.",
        _forget,
        _remember,
    ),
}


def active(place: Place) -> list[str]:
    """Return the names of the breaks that are active."""
    return [name for name in BREAKS if place.broken(name)]


def make(info: DemoInfo, place: Place, name: str) -> None:
    """Make a break; one that is active stays as it is."""
    if place.broken(name):
        return
    chosen = BREAKS[name]
    place.breaks.mkdir(mode=0o700, exist_ok=True)
    if chosen.make is None:
        write_private(place.breaks / name, {})
        return
    import psycopg

    with psycopg.connect(info.super_dsn, application_name="demo-break") as connection:
        connection.execute(b"set local lock_timeout = '10s'")
        # written before the commit: what was broken can always be healed
        write_private(place.breaks / name, chosen.make(connection))


def heal(info: DemoInfo, place: Place, name: str) -> None:
    """Undo a break; one that is not active needs nothing."""
    saved = read_json(place.breaks / name)
    if saved is None:
        return
    undo = BREAKS[name].heal
    if undo is not None:
        import psycopg

        with psycopg.connect(info.super_dsn, application_name="demo-heal") as connection:
            connection.execute(b"set local lock_timeout = '10s'")
            undo(connection, saved)
    (place.breaks / name).unlink()
