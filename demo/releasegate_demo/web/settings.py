"""What the web process is told at its start."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from releasegate_demo.place import Place, read_json


@dataclass(frozen=True, slots=True)
class Settings:
    """One deployment of the application."""

    state: str
    """The state folder."""
    version: str
    """The release."""
    commit: str
    """Its commit."""
    deployed_at: str
    """When it was deployed, ISO 8601 in UTC."""
    services_url: str
    """Where e-mail and SMS answer."""
    http_port: int
    """The port to listen on, 0 for a free one."""
    https_port: int
    """The port for HTTPS, 0 for a free one."""
    dsn: str = field(repr=False)
    """The database, as `authenticator`."""
    secret_key: str = field(repr=False)
    """Signs session cookies; the same over all deployments of one demo."""

    @property
    def place(self) -> Place:
        """The state folder with its files."""
        return Place(Path(self.state))


def load(state: Path) -> Settings:
    """Return the settings that the supervisor wrote; raise FileNotFoundError when it did not."""
    data = read_json(Place(state).settings)
    if data is None:
        raise FileNotFoundError(f"{Place(state).settings}: expected the settings of the web process")
    return Settings(**data)
