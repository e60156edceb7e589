"""Open the application's pages on the database of RELEASEGATE_SCRATCH_DSN; run as a module, it exits 0 or 1.

It is what a product gives its gate `dry_run` as `command`: does the application work on the migrated copy?
"""

from __future__ import annotations

import os
import sys
import tempfile

from releasegate_demo.product import NEW, OLD
from releasegate_demo.traffic import PAGES, TOKEN
from releasegate_demo.web.app import create_app
from releasegate_demo.web.settings import Settings

__all__ = ["broken_pages", "main"]


def broken_pages(dsn: str, version: str, account: dict[str, str]) -> list[str]:
    """The pages of one version that do not answer as they should, each with its status."""
    with tempfile.TemporaryDirectory(prefix="ehr-") as folder:
        settings = Settings(folder, version, "0" * 40, "2026-01-05T09:00:00+00:00", "", 0, 0, dsn, "for one minute")
        app = create_app(settings)
        client = app.test_client()
        token = TOKEN.search(client.get("/auth").text)
        inside = client.post("/auth", data={**account, "csrf_token": token.group(1) if token else ""})
        answers = {"/auth": 200 if inside.status_code == 302 else inside.status_code}
        answers |= {page: client.get(page).status_code for page in PAGES}
        app.extensions["ehr"].pool.close()
        return [f"{version} {page}: {status}" for page, status in answers.items() if status >= 300]


def main() -> int:
    """Try the version that is live and the one that is coming."""
    account = {name: os.environ[f"RELEASEGATE_DEMO_CLINICIAN_{name.upper()}"] for name in ("email", "password")}
    dsn = os.environ["RELEASEGATE_SCRATCH_DSN"]
    broken = [line for version in (OLD, NEW) for line in broken_pages(dsn, version, account)]
    sys.stdout.write("\n".join(broken or [f"{OLD} and {NEW}: {len(PAGES) + 1} pages each answer"]) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
