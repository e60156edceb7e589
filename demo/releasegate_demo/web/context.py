"""What every page needs: the database as the person who asks, the person, the audit log, the guards of a route."""

from __future__ import annotations

import contextlib
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, cast

from flask import abort, current_app, g, redirect, request, session, url_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask.typing import ResponseReturnValue

    from releasegate_demo.web.database import Connection, Pool, Row
    from releasegate_demo.web.logs import JsonLog
    from releasegate_demo.web.metrics import Metrics
    from releasegate_demo.web.sessions import Ended
    from releasegate_demo.web.settings import Settings

P = ParamSpec("P")
TEST_DOMAIN = "@example.test"
MARK = re.compile(r"[\w.:-]{1,64}")


@dataclass(frozen=True, slots=True)
class Parts:
    """What one application is made of."""

    settings: Settings
    pool: Pool
    log: JsonLog
    metrics: Metrics
    ended: Ended


def parts() -> Parts:
    """Return the parts of the running application."""
    return cast("Parts", current_app.extensions["ehr"])


@dataclass(frozen=True, slots=True)
class User:
    """The person who is logged in."""

    id: str
    email: str
    name: str
    title: str
    role: str
    """`clinician`, `admin`, `billing`, or `portal`."""
    client_id: int | None = None

    @property
    def initials(self) -> str:
        """Two letters for the picture."""
        words = [word for word in self.name.split() if not word.endswith(".")]
        return "".join(word[0] for word in words[:2]).upper()


def user() -> User:
    """Return who is logged in; only behind a guard."""
    return cast("User", g.user)


@contextlib.contextmanager
def service() -> Iterator[Connection]:
    """Lend a connection that row-level security does not hold back, in a transaction of its own."""
    with parts().pool.session("service_role") as connection:
        yield connection


def db() -> Connection:
    """Return the request's connection, as the person who asks; it is committed when the answer is below 500."""
    if "db" not in g:
        stack = contextlib.ExitStack()
        claims = {"sub": user().id, "role": "authenticated", "email": user().email}
        g.db = stack.enter_context(parts().pool.session("authenticated", claims))
        g.db_stack = stack
    return cast("Connection", g.db)


def rows(query: str, *values: Any) -> list[Row]:
    """Return all rows of a query as the person who asks."""
    return db().execute(query.encode(), values).fetchall()


def one(query: str, *values: Any) -> Row | None:
    """Return the first row of a query as the person who asks."""
    return db().execute(query.encode(), values).fetchone()


def changed(query: str, *values: Any) -> int:
    """Run a statement as the person who asks and return how many rows it changed."""
    return db().execute(query.encode(), values).rowcount


def finish_db(keep: bool) -> None:
    """End the request's transaction; without a transaction do nothing."""
    stack = g.pop("db_stack", None)
    if g.pop("db", None) is None or stack is None:
        return
    if keep:
        stack.close()
    else:
        import psycopg

        # the block's own way to roll back without an error outside
        rollback = psycopg.Rollback()
        stack.__exit__(type(rollback), rollback, None)


def load_user() -> User | None:
    """Return the person of the session cookie, or None when there is none, or it or the account was closed."""
    who, kind = session.get("user"), session.get("kind")
    if who is None or session.get("key") in parts().ended:
        return None
    query = STAFF if kind == "staff" else PORTAL
    with service() as connection:
        row = connection.execute(query, [who]).fetchone()
    return User(**row) if row is not None else None


STAFF = b"""
select s.id::text, u.email, s.full_name as name, s.title, s.role, null::bigint as client_id
from public.staff s join auth.users u using (id) where s.id = %s and s.active
"""
PORTAL = b"""
select p.id::text, u.email, c.first_name || ' ' || c.last_name as name, 'Client' as title, 'portal' as role, p.client_id
from public.portal_accounts p join auth.users u using (id) join public.clients c on c.id = p.client_id
where p.id = %s and p.active
"""


def only(*roles: str) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, ResponseReturnValue]]:
    """Let only people of those roles see a page; others are sent to the login or refused."""

    def guard(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        @functools.wraps(view)
        def inner(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if g.user is None:
                where = "portal.login" if roles == ("portal",) else "entry.login"
                return redirect(url_for(where, next=request.path if request.method == "GET" else None))
            if g.user.role not in roles:
                abort(403)
            return view(*args, **kwargs)

        return inner

    return guard


def audit(action: str, kind: str, key: object, text: str, severity: str = "info") -> None:
    """Add a row to the audit log in the transaction of the request."""
    db().execute(AUDIT, [user().id, action, kind, str(key), text, severity])


def audit_as_service(action: str, kind: str, text: str, severity: str, who: str | None = None) -> None:
    """Add a row to the audit log where nobody is logged in."""
    with service() as connection:
        connection.execute(AUDIT, [who, action, kind, None, text, severity])


AUDIT = b"""
insert into public.audit_logs (user_id, action_type, resource_type, resource_id, action_description, severity)
values (%s, %s, %s, %s, %s, %s)
"""


def log(event: str, level: str = "info", **fields: Any) -> None:
    """Write one event of this request to the log."""
    who = g.user.id if g.get("user") is not None else None
    parts().log.write(event, level, request_id=g.get("request_id"), user_id=who, **fields)


def test_run() -> str | None:
    """Return the mark that a test account asks to put on what it makes (header `X-Test-Run`)."""
    mark = request.headers.get("X-Test-Run", "")
    return mark if MARK.fullmatch(mark) and user().email.endswith(TEST_DOMAIN) else None


def field(name: str, limit: int = 4000) -> str:
    """Return a form field without surrounding blanks, at most `limit` characters."""
    return request.form.get(name, "").strip()[:limit]


def whole(text: str) -> int | None:
    """Return a text as a whole number, or None when it is not one that fits an id."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None
