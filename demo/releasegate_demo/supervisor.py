"""The detached process that owns a demo: database, stand-ins, web process; when it dies, they do."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from releasegate_demo import backups, certs, cluster
from releasegate_demo.info import ACCOUNTS, DemoInfo, dump
from releasegate_demo.place import Place, write_private
from releasegate_demo.population import TEST_EMAILS
from releasegate_demo.services import Services
from releasegate_demo.vendors import Vendors

if TYPE_CHECKING:
    from pytest_releasegate.sources.pgserver import PostgresServer

STOP_SECONDS = 10.0


class Web:
    """The web process; it keeps its ports over deployments."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self.ports = {"http": 0, "https": 0}

    @property
    def pid(self) -> int:
        """The process id, 0 before the first start."""
        return self._process.pid if self._process is not None else 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and wait until it has bound its ports."""
        command = [sys.executable, "-m", "releasegate_demo.web.serve", str(self._place.folder)]
        with self._place.supervisor_log.open("ab") as errors:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        pipe = self._process.stdout
        line = pipe.readline() if pipe is not None else b""
        if not line:
            raise RuntimeError(f"the web process ended with {self._process.wait()}; see {self._place.supervisor_log}")
        self.ports = json.loads(line)

    def stop(self) -> None:
        """End the process, gently first."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


class Supervisor:
    """One demo from start to end."""

    def __init__(self, place: Place, version: str, commit: str) -> None:
        self._place = place
        self._release = (version, commit)
        self._secret = secrets.token_urlsafe(32)
        self._web = Web(place)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._info: DemoInfo | None = None

    def run(self) -> None:
        """Start everything, say so in `demo.json`, and stay until told to stop."""
        with contextlib.ExitStack() as stack:
            services = stack.enter_context(Services(self._place, self._control))
            threading.Thread(target=services.serve_forever, daemon=True).start()
            stack.callback(services.shutdown)
            vendors = stack.enter_context(Vendors(self._place))
            threading.Thread(target=vendors.serve_forever, daemon=True).start()
            stack.callback(vendors.shutdown)
            database = stack.enter_context(cluster.start())
            certs.write(self._place.folder)
            _create_accounts(self._place, database)
            self._info = self._describe(services, vendors, database)
            stack.callback(self._web.stop)
            self._start(database)
            self._stop.wait()

    def _start(self, database: PostgresServer) -> None:
        """Take the nightly backups while the web process starts: who finds the demo up finds them too."""
        backups.prepare(self._place)
        with ThreadPoolExecutor() as pool:
            nightly = pool.submit(backups.dump, self._place, database.dsn(cluster.DATABASE), "nightly")
            base = pool.submit(backups.base, database)
            self._deploy(*self._release)
            nightly.result()
            base.result()
        self._place.backed_up.touch()

    def end(self) -> None:
        """Make `run` return."""
        self._stop.set()

    def _describe(self, services: Services, vendors: Vendors, database: PostgresServer) -> DemoInfo:
        logins = cluster.open_logins(database)
        return DemoInfo(
            state=str(self._place.folder),
            base_url="",
            https_url="",
            ca_file=str(self._place.ca),
            version="",
            commit="",
            deployed_at="",
            services_url=f"http://127.0.0.1:{services.server_port}",
            vendors_url=f"http://127.0.0.1:{vendors.server_port}",
            control_port=services.server_port,
            log=str(self._place.log),
            migration_log=str(self._place.migration_log),
            backfill_log=str(self._place.backfill_log),
            backups=str(self._place.backups),
            unlock=str(self._place.unlock),
            wal=str(database.folder / "wal"),
            pids={"supervisor": os.getpid(), "postgres": database.pid},
            app_dsn=logins["authenticator"],
            probe_dsn=logins["releasegate_probe"],
            owner_dsn=logins["app_owner"],
            super_dsn=database.dsn(cluster.DATABASE),
            control_key=services.key,
            vendor_key=vendors.key,
        )

    def _control(self, name: str, body: dict[str, str]) -> dict[str, Any]:
        if self._info is None:
            raise RuntimeError("the demo is still starting")
        if name == "stop":
            self.end()
        elif name == "deploy":
            self._deploy(body["version"], body["commit"])
        elif name == "ping":
            self._revive()
        return dump(self._info)

    def _deploy(self, version: str, commit: str) -> None:
        with self._lock:
            self._restart(version, commit)

    def _revive(self) -> None:
        # asked under the lock: a web process that is being replaced is no dead one
        with self._lock:
            if self._info is not None and not self._web.running:
                self._restart(self._info.version, self._info.commit)

    def _restart(self, version: str, commit: str) -> None:
        info = self._info
        if info is None:
            raise RuntimeError("the demo is still starting")
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._web.stop()
        info = replace(info, version=version, commit=commit, deployed_at=moment)
        write_private(self._place.settings, self._settings(info))
        self._web.start()
        self._info = replace(
            info,
            base_url=f"http://127.0.0.1:{self._web.ports['http']}",
            https_url=f"https://localhost:{self._web.ports['https']}",
            pids={**info.pids, "web": self._web.pid},
        )
        write_private(self._place.info, dump(self._info))

    def _settings(self, info: DemoInfo) -> dict[str, Any]:
        return {
            "state": info.state,
            "version": info.version,
            "commit": info.commit,
            "deployed_at": info.deployed_at,
            "services_url": info.services_url,
            "http_port": self._web.ports["http"],
            "https_port": self._web.ports["https"],
            "dsn": info.app_dsn,
            "secret_key": self._secret,
        }


def _create_accounts(place: Place, database: PostgresServer) -> None:
    import psycopg
    from werkzeug.security import generate_password_hash

    accounts = {kind: {"email": TEST_EMAILS[kind], "password": secrets.token_urlsafe(12)} for kind in ACCOUNTS}
    with psycopg.connect(database.dsn(cluster.DATABASE)) as connection:
        for account in accounts.values():
            stored = generate_password_hash(account["password"], "scrypt:16384:8:1")
            connection.execute("update auth.users set password_hash = %s where email = %s", [stored, account["email"]])
    write_private(place.credentials, accounts)


def main(folder: str, version: str, commit: str) -> None:
    """Leave the caller's session, hold the lock that says this demo lives, and run."""
    place = Place(Path(folder))
    ready, tell = os.pipe()
    if os.fork():
        # the caller waits for this process, so it returns once the lock is held, or was refused
        os.close(tell)
        os._exit(0 if os.read(ready, 1) else 1)
    os.setsid()
    place.hold()
    os.write(tell, b"1")
    os.close(tell)
    supervisor = Supervisor(place, version, commit)
    signal.signal(signal.SIGTERM, lambda *_: supervisor.end())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    supervisor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
