"""`releasegate rls-matrix`: what it drafts, that nobody can take it as it is, and that it is a gate once corrected."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from pytest_releasegate.checklist.loader import load
from pytest_releasegate.cli import main
from pytest_releasegate.errors import BrokenPlan
from pytest_releasegate.model import Environment, Status
from pytest_releasegate.testing import look

if TYPE_CHECKING:
    from tests.checks.conftest import NewDatabase
    from tests.conftest import Product

SCRIPT = """
create schema auth;
grant usage on schema auth, public to anon, authenticated, releasegate_probe;
create function auth.uid() returns int language sql stable as
    $$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::int $$;
create table notes (id int primary key, author int not null);
insert into notes values (1, 7), (2, 8);
create table "Odd one" (id int primary key);
create table secrets (id int primary key);
grant select, insert, update on notes to authenticated;
grant select on "Odd one" to anon;
alter table notes enable row level security;
create policy own on notes for select using (author = auth.uid());
create policy mine on notes for insert to authenticated with check (author = auth.uid());
create policy tenant on notes as restrictive using (current_setting('app.tenant', true) <> '');
"""
DRAFT = """\
          personas:
            anon: {role: anon}
            authenticated: {role: authenticated, claims: {sub: TODO}, settings: {app.tenant: TODO}}
          expect:
            "public.Odd one":  # row security DISABLED; owner postgres
              anon:
                select: TODO  # row security is DISABLED, so its grant reaches every row
                insert: denied  # no privilege
                update: denied  # no privilege
                delete: denied  # no privilege
              authenticated: denied  # no privilege
            public.notes:  # row security enabled; owner postgres
              anon: denied  # no privilege
              authenticated:
                select: TODO  # own using (author = auth.uid()); tenant (restrictive) using TENANT
                insert: TODO  # mine check (author = auth.uid()); tenant (restrictive) check TENANT
                update: denied  # no policy permits it
                delete: denied  # no privilege
""".replace("TENANT", "(current_setting('app.tenant'::text, true) <> ''::text)")


@pytest.fixture(scope="module")
def database(new_database: NewDatabase) -> Environment:
    """What is drafted from."""
    return new_database(SCRIPT)


@pytest.fixture
def call(product: Product, database: Environment, monkeypatch: Any, capsys: Any) -> Any:
    """Call the command in a product; gives its exit code and output."""
    monkeypatch.chdir(product.root)
    monkeypatch.setenv("DSN", database.databases["app"])
    product.write("gates/environments.yaml", "environments: {demo: {databases: {app: '${env:DSN}'}}}\n")

    def run(*words: str) -> tuple[int, str]:
        code = main(["rls-matrix", "--env", "demo", *words])
        seen = capsys.readouterr()
        return code, seen.out + seen.err

    return run


@pytest.mark.parametrize(
    ("words", "head_ends", "rest"),
    [
        ([], "        rls:\n", "          # left out, since none of these roles may use them at all: public.secrets\n"),
        (
            ["--schema", "public"],
            "        rls:\n          complete: [public]\n",
            "            public.secrets:  # row security DISABLED; owner postgres\n"
            "              anon: denied  # no privilege\n              authenticated: denied  # no privilege\n",
        ),
    ],
)
def test_a_draft_says_what_is_and_asks_what_should_be(call: Any, words: list[str], head_ends: str, rest: str) -> None:
    code, out = call(*words)
    head, hint, body = out.partition("          personas:\n")
    plain = re.sub(r"  # an id, or .*", "", hint + body)
    assert (code, plain) == (0, DRAFT + rest)
    assert head.endswith(head_ends)
    assert head.startswith(
        "# A DRAFT, made from the catalogue of database 'app' of environment 'demo': a person has to"
    )


def test_a_draft_is_refused_until_somebody_has_decided(call: Any, product: Product) -> None:
    assert call("--output", "gates/rls.yaml") == (
        0,
        "gates/rls.yaml: written; decide what stands as TODO in it, 5 in all\n",
    )
    with pytest.raises(BrokenPlan) as broken:
        load(product.root / "gates", product.root)
    message = str(broken.value)
    assert message.count("nobody has decided yet") == 5, message
    assert "gates/rls.yaml:30:25: " in message
    assert "nobody has decided yet what is expected here; write denied, none, allowed, all" in message
    code, out = call("--output", "gates/rls.yaml")
    assert (code, "may have been corrected" in out) == (4, True)


def test_a_corrected_draft_is_a_gate(call: Any, product: Product, database: Environment) -> None:
    assert call("--schema", "public", "--output", "gates/rls.yaml")[0] == 0
    path = product.root / "gates" / "rls.yaml"
    text = path.read_text("utf-8").replace("sub: TODO", "sub: 7").replace("app.tenant: TODO", "app.tenant: '0'")
    path.write_text(text.replace("select: TODO  # own", "select: author = 7  # own").replace(": TODO", ": denied"))
    (declaration,) = load(product.root / "gates", product.root).declarations
    seen = look(declaration.check, database)
    assert {finding.name: str(finding.ok) for finding in seen.findings if finding.ok != "yes"} == {
        # row security is off there, and nobody may probe
        "row security of public.Odd one": "no",
        "row security of public.secrets": "no",
        "select on public.Odd one as anon": "cannot tell",
        "insert on public.notes as authenticated": "cannot tell",
    }
    assert seen.status is Status.FAILED


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--role", "authenticatd"], "role 'authenticatd' does not exist\n    did you mean 'authenticated'"),
        (["--role", "stranger", "--schema", "auth"], "none of these roles has any privilege on a table"),
        (["--schema", "auth"], "no role but the owner is granted anything on these tables\n    name the roles that"),
        (["--schema", "pubic"], "the database has no schema 'pubic'"),
        (["--database", "ap"], "environment 'demo' has no database 'ap'"),
        (["--output", "none/rls.yaml"], "--output: cannot write none/rls.yaml: No such file or directory"),
    ],
)
def test_what_cannot_be_drafted_is_said(call: Any, words: list[str], message: str) -> None:
    code, out = call(*words)
    assert (code, message in out) == (4, True), out
