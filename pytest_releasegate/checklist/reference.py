"""The reference checklist that comes with the package, and what becomes of it in a product of its own."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_releasegate.checklist.editors import with_modeline
from pytest_releasegate.checklist.environments import FILE as ENVIRONMENTS
from pytest_releasegate.policy import placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FOLDERS", "Target", "adopted", "environments", "reference", "variable"]

FOLDERS = ("gates", "smoke", "load")
"""The folders that hold the checklist: gate files, browser flows, load."""
STAGING = "staging"
"""The environment of a new product that gates look at when none is named."""

_STAKEHOLDERS = "stakeholders.yaml"
_DOCUMENT = re.compile(r"^ +document: \{path: \"?(?P<path>[^,}\"]+)\"?.*\}$")
_OWNER = re.compile(r"^ *owner: (?P<owner>\w+)$")
_ROLES = {"database": "database_administrator"}
_ACCOUNT = "RELEASEGATE_DEMO_"
_ROLE = re.compile(r"^(  (\w+): .*?)people: \[[^\]]*\]", re.MULTILINE)


class Target:
    """What a product says of itself: its name, where it answers, how its database is reached."""

    def __init__(self, product: str, base_url: str = "", database: str = "") -> None:
        self.product = product
        prefix = variable(product)
        self.base_url = base_url or f"${{env:{prefix}_STAGING_URL}}"
        self.database = database or f"${{env:{prefix}_STAGING_DSN}}"


def reference() -> Path:
    """The folder that holds `gates/`, `smoke/` and `load/`: in the package, or above it in a clone."""
    packaged = Path(str(files("pytest_releasegate"))) / "reference"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2]


def variable(product: str) -> str:
    """The beginning of the names of a product's environment variables, such as `ACME_CRM`."""
    return re.sub(r"\W+", "_", product, flags=re.ASCII).strip("_").upper() or "PRODUCT"


def adopted(root: Path) -> dict[str, str]:
    """The reference's files, by name, as a product at that root can use them; its environments are another matter.

    Placeholders hold the roles. A document that the product does not have is a person's word until it is there.
    """
    found = {}
    for folder in FOLDERS:
        for path in sorted((reference() / folder).iterdir()):
            if path.suffix in {".py", ".yaml"} and path.name != ENVIRONMENTS:
                text = path.read_text(encoding="utf-8").replace(_ACCOUNT, f"RELEASEGATE_{STAGING.upper()}_")
                found[f"{folder}/{path.name}"] = _fitting(path, text, root)
    return found


def environments(target: Target) -> str:
    """The text of environments.yaml: a staging to begin with, and production by references alone."""
    prefix = variable(target.product)
    return f"""\
# The targets by name. Values are references: they resolve when a gate starts, and their values never reach the record.
# Flows and load sign in with the accounts in RELEASEGATE_{STAGING.upper()}_CLINICIAN_EMAIL and ..._PASSWORD; likewise
# ADMIN, BILLING and PORTAL, and RELEASEGATE_PROD_... for prod.
default: {STAGING}
product: {target.product}
environments:
  {STAGING}:
{_environment(f"{prefix}_STAGING", STAGING, target.base_url, target.database)}
  prod:
{_environment(f"{prefix}_PROD", "prod", f"${{env:{prefix}_PROD_URL}}", f"${{env:{prefix}_PROD_DSN}}")}
    protected: true
"""


_VENDORS = """\
      mail_domain: ${env:PREFIX_MAIL_DOMAIN}
      resend_key: ${env:PREFIX_RESEND_KEY}
      resend_api: "" # the vendor's own, as the next two; on this machine, a stand-in's
      twilio_account: ${env:PREFIX_TWILIO_ACCOUNT}
      twilio_key: ${env:PREFIX_TWILIO_KEY}
      twilio_api: ""
      stripe_key: ${env:PREFIX_STRIPE_KEY}
      stripe_api: ""
      supabase_key: ${env:PREFIX_SUPABASE_KEY}
      supabase_url: ${env:PREFIX_SUPABASE_URL}
      functions_url: ${env:PREFIX_SUPABASE_URL}/functions/v1
      pagerduty_key: ${env:PREFIX_PAGERDUTY_KEY}
      pagerduty_url: https://api.pagerduty.com
      supabase_status: https://status.supabase.com
      resend_status: https://resend-status.com
      twilio_status: https://status.twilio.com
      cdn_status: ${env:PREFIX_CDN_STATUS}"""


def _environment(prefix: str, name: str, url: str, database: str) -> str:
    return f"""\
    base_url: {url}
    databases:
      app: {database}
    values:
      https_url: {url}
      ca: ""
      log: ${{env:{prefix}_LOG}}
      migration_log: ${{env:{prefix}_MIGRATION_LOG}}
      backfill_log: ${{env:{prefix}_BACKFILL_LOG}}
{_accounts(name)}
{_VENDORS.replace("PREFIX", prefix)}
    allow: [probes, writes_through_app]"""


def _accounts(name: str) -> str:
    """Address and password of each test account, by reference."""
    account = f"${{env:RELEASEGATE_{name.upper()}_"
    kinds = ("clinician", "admin", "billing", "portal")
    return "\n".join(
        f"      {kind}: {account}{kind.upper()}_EMAIL}}\n      {kind}_password: {account}{kind.upper()}_PASSWORD}}"
        for kind in kinds
    )


def _fitting(path: Path, text: str, root: Path) -> str:
    if path.name == _STAKEHOLDERS:
        return _ROLE.sub(lambda found: f"{found[1]}people: [{placeholder(found[2])}]", text.partition("people:\n")[0])
    return with_modeline("\n".join(_with_words(text, root)) + "\n") if path.suffix == ".yaml" else text


def _with_words(text: str, root: Path) -> Iterator[str]:
    owner = ""
    for line in text.splitlines():
        said, document = _OWNER.match(line), _DOCUMENT.match(line)
        owner = said["owner"] if said else owner
        if document is None or "${" in document["path"] or (root / document["path"]).is_file():
            yield line
            continue
        start = line[: len(line) - len(line.lstrip())]
        yield f"{start}# once {document['path']} is there, in place of the next line:"
        yield f"{start}# {line.strip()}"
        yield f"{start}attest: {{role: {_ROLES.get(owner, 'release_manager')}, instead_of: document}}"
