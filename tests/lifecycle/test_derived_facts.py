"""Facts of policy.yaml that follow from what changed, as commands and runs tell them, in a product below the top."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Product

if TYPE_CHECKING:
    from pathlib import Path

NOTES = 'id: "1.1", title: Notes, document: NOTES.md, when: billing_changes'


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """The product services/a, whose 1.3.0 is deployed and whose 1.4.0 changes its billing, and the top of another."""
    made = Product(tmp_path / "shop" / "services" / "a")
    made.gates("predeploy", NOTES, 'id: "1.2", title: Other notes, document: NOTES.md')
    made.write("gates/policy.yaml", 'facts:\n  billing_changes: {changed: ["billing/**", "!**/*.md"]}\n')
    made.write(".gitignore", ".releasegate/\n")
    git(made, "init", "-q", str(tmp_path / "shop"))
    commit(made, "README.md")
    assert made.releasegate("open", "1.3.0").has("no version tag is reachable from the commit")
    assert made.releasegate("deployed", "--release", "1.3.0").code == 0
    return made


def git(product: Product, *words: str) -> None:
    person = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
    quiet = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", *person, *words], cwd=product.root, check=True, capture_output=True, env=quiet)


def commit(product: Product, *paths: str) -> None:
    for path in paths:
        product.write(path, "new\n")
    git(product, "add", "-A")
    git(product, "commit", "-q", "-m", "a change")


def test_a_fact_that_is_true_makes_its_gates_run(product: Product) -> None:
    commit(product, "billing/invoice.py", "billing/a.md")
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has("billing_changes by billing/invoice.py", "2 passed")) == (0, True), ran.out
    told = product.releasegate("status")
    assert told.has("facts billing_changes: true (billing/invoice.py changed)", "phase predeploy: GO")


def test_a_fact_that_is_false_makes_them_not_applicable(product: Product) -> None:
    commit(product, "billing/a.md", "../b/billing/other.py")
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has("since 1.3.0/demo", "billing_changes not")) == (0, True), ran.out
    assert product.releasegate("status").has("1 passed, 1 not applicable", "phase predeploy: GO")


def test_a_declared_fact_that_contradicts_it_holds_the_phase(product: Product) -> None:
    commit(product, "billing/invoice.py")
    product.pytest("-m", "predeploy", "--fact", "billing_changes=false")
    held = product.releasegate("status", "--exit-code")
    said = "fact `billing_changes` is declared false, and billing/invoice.py has changed"
    assert (held.code, held.has("phase predeploy: HOLD", said)) == (10, True), held.out
    assert product.releasegate("fact", "billing_changes=true").code == 0
    assert product.pytest("-m", "predeploy").code == 0
    assert product.releasegate("status", "--exit-code").has("phase predeploy: GO")


def test_a_replan_derives_by_the_patterns_of_now(product: Product) -> None:
    commit(product, "payments/card.py")
    assert product.releasegate("open", "1.4.0").has("billing_changes not")
    product.write("gates/policy.yaml", "facts:\n  billing_changes: {changed: [payments]}\n")
    again = product.releasegate("replan", "--reason", "payments are billing")
    assert (again.code, again.has("billing_changes by payments/card.py")) == (0, True), again.out
    assert product.release().derived == {"billing_changes": "payments/card.py"}


def test_without_an_earlier_release_it_stays_open(product: Product) -> None:
    told = product.releasegate("open", "1.4.0", "--env", "prod")
    assert told.has("no fact is derived", "releasegate fact billing_changes=true|false")
    status = product.releasegate("status", "--env", "prod")
    assert status.has("1 missing, 1 pending", "releasegate fact billing_changes=true|false")
