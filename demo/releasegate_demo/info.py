"""What a running demo says about itself: addresses, databases, accounts, files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from releasegate_demo.place import Place, read_json

ACCOUNTS = ("clinician", "admin", "billing", "portal")


@dataclass(frozen=True, slots=True)
class DemoInfo:
    """One running demo; the fields that hold a password stay out of `repr`."""

    state: str
    """The state folder, absolute."""
    base_url: str
    """Where the application answers over plain HTTP."""
    https_url: str
    """Where it answers over HTTPS, with a certificate of `ca_file`."""
    ca_file: str
    """The certificate authority in PEM."""
    version: str
    """The release that is deployed."""
    commit: str
    """The commit of that release."""
    deployed_at: str
    """When it was deployed, ISO 8601 in UTC."""
    services_url: str
    """Where the stand-ins for e-mail and SMS answer."""
    vendors_url: str
    """Where the stand-ins for the services that the product buys answer."""
    control_port: int
    """Where the supervisor listens for commands."""
    log: str
    """The application's log, JSON lines."""
    migration_log: str
    """The log of migrations, JSON lines."""
    backfill_log: str
    """The log of backfills, JSON lines."""
    backups: str
    """The folder of the encrypted dumps."""
    unlock: str
    """The command that decrypts a dump from its input to its output."""
    wal: str
    """The folder that WAL is archived to."""
    pids: dict[str, int]
    """Process ids: supervisor, web, postgres."""
    app_dsn: str = field(repr=False)
    """The role the application connects as, `authenticator`."""
    probe_dsn: str = field(repr=False)
    """The read-only role for gates, `releasegate_probe`."""
    owner_dsn: str = field(repr=False)
    """The role that owns the tables, `app_owner`."""
    super_dsn: str = field(repr=False)
    """The superuser; only `releasegate_demo.control` uses it."""
    control_key: str = field(repr=False)
    """The secret of the control channel."""
    vendor_key: str = field(repr=False)
    """The key that the stand-ins of vendors take."""

    def credentials(self) -> dict[str, dict[str, str]]:
        """Return e-mail and password by kind of test account."""
        return read_json(Place(Path(self.state)).credentials) or {}

    def environment(self) -> dict[str, str]:
        """Return the variables that gates, smoke and load tests read."""
        found = {
            "RELEASEGATE_DEMO_URL": self.base_url,
            "RELEASEGATE_DEMO_HTTPS_URL": self.https_url,
            "RELEASEGATE_DEMO_CA": self.ca_file,
            "RELEASEGATE_DEMO_DSN": self.probe_dsn,
            "RELEASEGATE_DEMO_OWNER_DSN": self.owner_dsn,
            "RELEASEGATE_DEMO_LOG": self.log,
            "RELEASEGATE_DEMO_MIGRATION_LOG": self.migration_log,
            "RELEASEGATE_DEMO_BACKFILL_LOG": self.backfill_log,
            "RELEASEGATE_DEMO_BACKUPS": self.backups,
            "RELEASEGATE_DEMO_UNLOCK": self.unlock,
            "RELEASEGATE_DEMO_WAL": self.wal,
            "RELEASEGATE_DEMO_VENDORS": self.vendors_url,
            "RELEASEGATE_DEMO_VENDOR_KEY": self.vendor_key,
        }
        for kind, account in self.credentials().items():
            found[f"RELEASEGATE_DEMO_{kind.upper()}_EMAIL"] = account["email"]
            found[f"RELEASEGATE_DEMO_{kind.upper()}_PASSWORD"] = account["password"]
        return found


def load(place: Place) -> DemoInfo | None:
    """Return what the state folder says, whether or not that demo still runs."""
    data = read_json(place.info)
    return DemoInfo(**data) if data is not None else None


def dump(info: DemoInfo) -> dict[str, Any]:
    """Return the fields, secrets included, for a private file."""
    return asdict(info)
