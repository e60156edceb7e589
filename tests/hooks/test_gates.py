"""Whole runs: what pytest ends with, what is in the record, what the terminal says."""

from __future__ import annotations

import pytest

GOOD = "id: 6.1.1, title: Release notes there, document: NOTES.md"
BAD = "id: 6.1.2, title: Known issues there, document: {path: NOTES.md, section: Known issues}"
AWAY = "id: 7.1.1, title: Healthy, http: /healthz"
PERSON = "id: 6.3.4, title: Access reviewed, attest: {role: security_lead}"
PYTHON = "id: 10.2.1, title: Login, topics: [smoke], test: smoke/test_login.py"
PASSING = 'import pytest\n\n@pytest.mark.gate("10.2.1")\ndef test_login():\n    assert 1 + 1 == 2\n'


def test_a_good_phase_is_go(product):
    product.gates("predeploy", GOOD)
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, product.statuses()) == (0, {"6.1.1": "passed"})
    assert ran.has("scope ok: 1 of 1 gate", "phase predeploy: GO", "no earlier record of 1.4.0/demo", "opened now")


def test_a_failed_gate_is_no_go(product):
    product.gates("predeploy", GOOD, BAD)
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, product.statuses()) == (1, {"6.1.1": "passed", "6.1.2": "failed"})
    assert ran.has("phase predeploy: NO-GO", "scope NO-GO", "gates/predeploy.yaml:7:9")
    assert "Traceback" not in ran.out


def test_a_target_that_does_not_answer_is_hold_and_no_pass(product):
    product.gates("predeploy", AWAY)
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, product.statuses()) == (10, {"7.1.1": "error"})
    assert ran.has("cannot connect", "phase predeploy: HOLD")


def test_a_gate_for_a_person_waits_and_then_holds(product):
    product.gates("predeploy", GOOD, PERSON)
    assert product.pytest("-m", "predeploy").code == 10
    said = product.releasegate("attest", "6.3.4", "--status", "passed", "--person", "sam@ehr.example")
    assert (said.code, "says sam@ehr.example (security_lead)" in said.out) == (0, True)
    assert product.pytest("-m", "predeploy").code == 0


def test_a_persons_no_is_no_go(product):
    product.gates("predeploy", PERSON)
    product.pytest("-m", "predeploy")
    product.releasegate("attest", "6.3.4", "--status", "failed", "--person", "sam@ehr.example")
    assert product.pytest("-m", "predeploy").code == 1


def test_a_word_is_not_enough_where_looking_is_possible(product):
    product.gates("predeploy", GOOD)
    product.releasegate("open", "1.4.0")
    said = product.releasegate("attest", "6.1.1", "--status", "passed")
    assert (said.code, said.has("looked at by `document`; a word is not enough")) == (4, True)


ORDINARY = ("not slow", "not smoke", "not before", "not high", "not document", "slow", "not (smoke or slow)")


@pytest.mark.parametrize("words", [(), *(("-m", text) for text in ORDINARY), ("-k", "6.1.1"), (".",)])
def test_gates_run_only_when_asked_for(product, words):
    product.gates("predeploy", GOOD, "id: 6.1.9, title: No slow page, topics: [careful], document: NOTES.md")
    product.gates("deploy", PYTHON, head="step: after")
    product.write("smoke/test_login.py", PASSING)
    product.write("tests/test_unit.py", "def test_unit():\n    assert True\n")
    product.write("pytest.ini", "[pytest]\naddopts = --strict-markers\nmarkers = slow\n")
    ran = product.pytest(*words)
    assert not (product.root / ".releasegate").exists()
    assert "6.1.1" not in ran.out.replace("-k 6.1.1", "")
    assert "test_login" not in ran.out
    assert ran.code == (5 if words in {("-m", "slow"), ("-k", "6.1.1")} else 0), ran.out


def test_kinds_and_topics_are_markers_in_every_run(product):
    product.gates("predeploy", GOOD, "id: 6.1.9, title: B, topics: [careful, other], document: NOTES.md")
    product.gates("deploy", "id: 7.1.1, title: C, document: NOTES.md", head="step: after\ntopics:\n  - later")
    marks = "@pytest.mark.rls\n@pytest.mark.careful\n@pytest.mark.other\n@pytest.mark.later\n"
    product.write("tests/test_unit.py", f"import pytest\n\n{marks}def test_unit():\n    assert True\n")
    assert product.pytest("--strict-markers").code == 0
    assert product.pytest("-m", "careful").has("scope ok: 1 of 2 gates")


def test_by_path_is_a_rehearsal_that_leaves_no_trace(product):
    product.gates("predeploy", GOOD)
    ran = product.pytest("gates/predeploy.yaml", "-v")
    assert (ran.code, ran.has("6.1.1 PASSED", "rehearsal", "nothing is recorded")) == (0, True)
    assert not (product.root / ".releasegate" / "record.db").exists()


def test_by_path_a_protected_environment_must_be_named(product):
    product.gates("predeploy", GOOD)
    ran = product.pytest("gates/predeploy.yaml", RELEASEGATE_ENV="prod")
    assert (ran.code, ran.has("'prod' is protected", "--env prod")) == (4, True)
    assert product.pytest("gates/predeploy.yaml", "--env", "prod").code == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("-k", "nothing"), "deselected by name"),
        (("--deselect", "gates/predeploy.yaml::6.1.1"), "deselected by id"),
        (("smoke",), "narrowed by a path"),
    ],
)
def test_what_narrows_the_run_does_not_narrow_the_verdict(product, words, why):
    product.gates("predeploy", GOOD)
    product.write("smoke/test_other.py", "def test_other():\n    assert True\n")
    ran = product.pytest("-m", "predeploy", *words)
    assert (ran.code, ran.has("phase predeploy: HOLD", "not looked at")) == (10, True), why


def test_nothing_selected_is_never_green(product):
    product.gates("predeploy", GOOD)
    ran = product.pytest("-m", "postdeploy")
    assert (ran.code, ran.has("nothing was looked at")) == (10, True)


def test_python_gates_join_by_their_mark_and_cases_are_judged_by_the_worst(product):
    product.gates("deploy", PYTHON, head="step: after")
    product.write(
        "smoke/test_login.py",
        "import pytest\n\n"
        '@pytest.mark.gate("10.2.1")\n@pytest.mark.parametrize("who", ["staff", "admin"])\n'
        'def test_login(who):\n    assert who == "staff"\n',
    )
    ran = product.pytest("-m", "smoke")
    assert ran.code == 1
    assert product.statuses() == {"10.2.1 test_login[staff]": "passed", "10.2.1 test_login[admin]": "failed"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("    assert True", "passed", 0),
        ("    assert 1 == 2", "failed", 1),
        ("    raise OSError('broken pipe')", "failed", 1),
        ("    pytest.skip('no browser')", "inconclusive", 10),
        ("    pytest.xfail('known')", "failed", 1),
        ("    from pytest_releasegate.errors import CannotLook\n    raise CannotLook('no route')", "error", 10),
        ("    finding('errors', expected=0, actual=3, ok=False)", "failed", 1),
        (
            "    from pytest_releasegate.model import Ok\n    finding('n', expected=9, actual=1, ok=Ok.CANNOT_TELL)",
            "inconclusive",
            10,
        ),
        ("    finding('seen', expected=0, actual=3, ok=False, observe=True)", "passed", 0),
    ],
)
def test_every_way_a_python_gate_ends(product, body, status, code):
    product.gates("predeploy", "id: 10.2.1, title: Login, test: smoke/test_login.py")
    product.write(
        "smoke/test_login.py", f'import pytest\n\n@pytest.mark.gate("10.2.1")\ndef test_login(finding):\n{body}\n'
    )
    ran = product.pytest("-m", "predeploy")
    assert (product.statuses(), ran.code) == ({"10.2.1 test_login": status}, code)


@pytest.mark.parametrize("when", ["setup", "teardown"])
def test_a_broken_fixture_is_an_error_of_the_gate(product, when):
    product.gates("predeploy", "id: 10.2.1, title: Login, test: smoke/test_login.py")
    before, after = (
        ("    raise OSError('no disk')\n", "") if when == "setup" else ("", "    raise OSError('no disk')\n")
    )
    fixture = f"import pytest\n\n@pytest.fixture\ndef room():\n{before}    yield\n{after}"
    product.write(
        "smoke/test_login.py", f'{fixture}\n@pytest.mark.gate("10.2.1")\ndef test_login(room):\n    assert True\n'
    )
    ran = product.pytest("-m", "predeploy")
    assert (product.statuses(), ran.code) == ({"10.2.1 test_login": "error"}, 10)
    assert f"{when} failed: OSError: no disk" in product.results()[0].message


def test_class_based_and_unittest_tests_are_gates_too(product):
    product.gates("predeploy", "id: a, title: A, test: smoke/test_a.py", "id: b, title: B, test: smoke/test_a.py")
    product.write(
        "smoke/test_a.py",
        "import unittest\nimport pytest\n\n"
        'class TestA:\n    @pytest.mark.gate("a")\n    def test_it(self):\n        assert True\n\n'
        'class B(unittest.TestCase):\n    @pytest.mark.gate("b")\n'
        "    def test_it(self):\n        self.assertEqual(1, 1)\n",
    )
    assert product.pytest("-m", "predeploy").code == 0
    assert product.statuses() == {"a TestA.test_it": "passed", "b B.test_it": "passed"}


def test_a_module_that_cannot_be_imported_makes_only_its_own_gates_errors(product):
    product.gates("predeploy", GOOD, "id: 10.2.1, title: Login, test: smoke/test_login.py")
    product.write("smoke/test_login.py", "import nothing_of_this_name\n")
    ran = product.pytest("-m", "predeploy")
    assert (product.statuses(), ran.code) == ({"6.1.1": "passed", "10.2.1": "error"}, 10)
    assert ran.has("cannot be imported", "nothing_of_this_name")


def test_an_ordinary_failing_test_keeps_pytests_own_code(product):
    product.gates("predeploy", GOOD)
    product.write("tests/test_unit.py", "import pytest\n\n@pytest.mark.predeploy\ndef test_unit():\n    assert False\n")
    assert product.pytest("-m", "predeploy").code == 1


def test_when_facts_and_conditions(product):
    product.gates("predeploy", GOOD, "id: 1.2.3, title: Banner, when: maintenance, http: /auth")
    assert product.pytest("-m", "predeploy").has("fact `maintenance` is not declared")
    assert product.releasegate("fact", "maintenance=false").code == 0
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, product.statuses()) == (0, {"6.1.1": "passed"})


def test_facts_on_the_command_line_open_the_release_with_them(product):
    product.gates("predeploy", GOOD, "id: 1.2.3, title: Banner, when: maintenance, http: /auth")
    assert product.pytest("-m", "predeploy", "--fact", "maintenance=false").code == 0


def test_the_plan_of_a_protected_environment_stays_frozen(product):
    product.gates("predeploy", GOOD)
    assert product.pytest("-m", "predeploy", "--env", "prod").code == 0
    product.gates("predeploy", GOOD, BAD)
    ran = product.pytest("-m", "predeploy", "--env", "prod")
    assert (ran.code, ran.has("the plan of 1.4.0/prod is frozen", "+ 6.1.2 Known issues there", "replan")) == (4, True)
    assert product.releasegate("replan", "--env", "prod", "--reason", "one more line").code == 0
    assert product.pytest("-m", "predeploy", "--env", "prod").code == 1


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_stale_looks_again_only_at_what_does_not_hold(product, workers):
    product.gates("predeploy", GOOD, BAD, "id: 6.1.3, title: Old, document: NOTES.md, valid_for: 1ms")
    assert product.pytest("-m", "predeploy").code == 1
    product.write("NOTES.md", "# Release notes\n\nWe did things.\n\n## Known issues\n\nNone that we know of.\n")
    ran = product.pytest("-m", "predeploy", "--gates", "stale", *workers)
    assert ran.has("1 of them passed in an earlier run, not looked at now"), ran.out
    looked = [result.gate for result in product.results()]
    assert {name: looked.count(name) for name in looked} == {"6.1.1": 1, "6.1.2": 2, "6.1.3": 2}


def test_the_environment_is_part_of_the_frozen_plan(product):
    product.gates("predeploy", GOOD)
    assert product.pytest("-m", "predeploy", "--env", "prod").code == 0
    environments = (product.root / "gates/environments.yaml").read_text()
    product.write("gates/environments.yaml", environments.replace("ehr.example.com", "other.example.com"))
    ran = product.pytest("-m", "predeploy", "--env", "prod")
    assert (ran.code, ran.has("plan of 1.4.0/prod is frozen", "~ the environment: declared otherwise")) == (4, True)


def test_a_result_of_what_was_declared_otherwise_does_not_count(product):
    product.gates("predeploy", GOOD, BAD)
    product.pytest("-m", "predeploy", "-k", "6.1.1")
    product.gates("predeploy", GOOD.replace("there", "written"), BAD)
    ran = product.pytest("-m", "predeploy", "-k", "6.1.2")
    assert ran.has("the plan has changed and was frozen anew", "~ 6.1.1 Release notes written: declared otherwise")
    status = product.releasegate("show", "6.1.1")
    assert "status      missing" in status.out


def test_steps_of_deploy_run_when_they_are_due(product):
    product.gates("deploy", "id: b, title: B, document: NOTES.md", name="1", head="step: before")
    product.gates("deploy", "id: m, title: M, document: NOTES.md", name="2", head="step: migrate")
    product.gates("deploy", "id: a, title: A, document: NOTES.md", name="3", head="step: after")
    assert product.pytest("-m", "deploy").has("scope ok: 1 of 3 gates")
    assert set(product.statuses()) == {"b"}
    assert product.releasegate("deployed").code == 0
    ran = product.pytest("-m", "deploy")
    assert (ran.code, set(product.statuses())) == (0, {"b", "m", "a"})
    assert ran.has("phase deploy: GO")
    assert len([result for result in product.results() if result.gate == "b"]) == 1
    again = product.pytest("-m", "before")
    assert (again.code, len([result for result in product.results() if result.gate == "b"])) == (0, 1)


def test_what_was_looked_at_before_the_deployment_says_nothing_after_it(product):
    product.gates("deploy", "id: a, title: A, document: NOTES.md", head="step: after")
    assert product.pytest("-m", "after").code == 0
    product.releasegate("deployed")
    ran = product.releasegate("status", "--exit-code")
    assert ran.code == 10
    assert product.pytest("-m", "after").code == 0


def test_postdeploy_needs_to_know_when_the_deployment_was(product):
    product.gates("postdeploy", "id: p, title: P, document: NOTES.md")
    ran = product.pytest("-m", "postdeploy")
    assert (ran.code, ran.has("the record does not know when the deployment was: releasegate deployed")) == (10, True)


def test_a_trigger_is_rollback(product):
    product.gates("postdeploy", "id: T15.1, title: Outage, trigger: true, document: {path: NOTES.md, section: Gone}")
    product.releasegate("open", "1.4.0")
    product.releasegate("deployed")
    ran = product.pytest("-m", "postdeploy")
    assert (ran.code, ran.has("phase postdeploy: ROLLBACK")) == (11, True)


def test_needs_are_looked_at_first_and_their_failure_stops_the_rest(product):
    product.gates("predeploy", "id: z, title: Z, needs: [y], document: NOTES.md", "id: y, title: Y, document: gone.md")
    product.pytest("-m", "predeploy")
    assert product.statuses() == {"y": "failed", "z": "error"}
    assert product.results()[1].message.startswith("needs y, which is failed")


def test_secrets_leave_no_trace(product):
    product.gates(
        "predeploy", 'id: 1.1, title: Call, http: {url: /x, headers: {Authorization: "Bearer ${env:EHR_TOKEN}"}}'
    )
    product.write(
        "gates/environments.yaml", 'default: d\nenvironments:\n  d: {base_url: "http://${env:EHR_TOKEN}.invalid"}\n'
    )
    product.write(
        "smoke/test_leak.py",
        'import pytest\n\n@pytest.mark.gate("1.2")\ndef test_leak(gate_context, finding):\n'
        '    token = gate_context.resolve("${env:EHR_TOKEN}")\n'
        "    finding('token', expected='none', actual=token, ok=False)\n"
        "    gate_context.attach('token.txt', 'text/plain', token.encode())\n"
        "    print(token)\n"
        "    raise ValueError(token)\n",
    )
    product.gates("predeploy", "id: 1.2, title: Leak, test: smoke/test_leak.py", name="two")
    ran = product.pytest("-m", "predeploy", "-l", "-rA", EHR_TOKEN="s3cr3t-t0k3n-of-ours")
    assert ran.code != 0
    assert "s3cr3t-t0k3n-of-ours" not in ran.out
    record = b"".join(path.read_bytes() for path in (product.root / ".releasegate").rglob("*") if path.is_file())
    assert b"s3cr3t-t0k3n-of-ours" not in record


def test_base_url_names_an_environment(product, tmp_path):
    product.gates("predeploy", "id: 10.2.1, title: Login, test: smoke/test_login.py")
    product.write(
        "smoke/test_login.py",
        'import pytest\n\n@pytest.mark.gate("10.2.1")\ndef test_login(base_url):\n    assert base_url == "https://ehr.example.com"\n',
    )
    assert product.pytest("-m", "predeploy", "--base-url=prod").code == 0
    assert product.pytest("-m", "predeploy", "-n2", "--base-url=prod").code == 0
    assert product.pytest("-m", "predeploy", PYTEST_BASE_URL="prod").code == 0
    assert product.pytest("-m", "predeploy", "--base-url=https://ehr.example.com/").code == 0
    assert product.release().environment == "prod"
    ini = "[pytest]\nreleasegate_release = 1.4.0\nbase_url = prod\n"
    product.write("pytest.ini", ini)
    assert product.pytest("-m", "predeploy").code == 0
    assert product.pytest("-m", "predeploy", "-n2").code == 0
    wrong = product.pytest("-m", "predeploy", "--base-url=prdo")
    assert (wrong.code, wrong.has("unknown environment 'prdo'", "did you mean 'prod'?")) == (4, True)


def test_collecting_shows_the_gates_and_opens_nothing(product):
    product.gates("predeploy", GOOD, BAD)
    ran = product.pytest("-m", "predeploy", "--collect-only", "-q")
    assert (ran.code, ran.has("gates/predeploy.yaml::6.1.1", "gates/predeploy.yaml::6.1.2")) == (0, True)
    assert not (product.root / ".releasegate" / "record.db").exists()


@pytest.mark.parametrize("expression", ["predeploy and", "(predeploy", "not"])
def test_an_expression_that_cannot_be_read(product, expression):
    product.gates("predeploy", GOOD)
    ran = product.pytest("-m", expression)
    assert ran.code == 4
    assert "INTERNALERROR" not in ran.out


def test_a_failure_that_does_not_count_is_not_green_either(product):
    product.gates("predeploy", GOOD)
    assert product.pytest("-m", "predeploy").code == 0
    product.releasegate("deployed")
    (product.root / "NOTES.md").unlink()
    ran = product.pytest("-m", "predeploy")
    assert (ran.code, ran.has("6.1.1: failed in this run, and the record stands by an earlier look")) == (10, True)


def test_a_gate_on_hold_does_not_hide_an_ordinary_failing_test(product):
    product.gates("predeploy", AWAY)
    product.write("tests/test_unit.py", "import pytest\n\n@pytest.mark.predeploy\ndef test_unit():\n    assert False\n")
    assert product.pytest("-m", "predeploy").code == 1


def test_the_exit_code_follows_the_phase_where_asked(product):
    product.gates("predeploy", "id: 1.1.1, title: Nobody looks here, document: NOTES.md")
    product.gates("deploy", GOOD, head="step: after")
    scope = product.pytest("-m", "deploy")
    assert (scope.code, scope.has("scope ok: 1 of 1 gate", "phase deploy: HOLD")) == (0, True), scope.out
    assert product.pytest("-m", "deploy", "--verdict", "phase").code == 10
    assert product.pytest("-m", "predeploy").code == 0
    early = product.pytest("-m", "deploy", "--verdict", "phase")
    assert (early.code, early.has("does not know when the deployment was", "releasegate deployed --release")) == (
        10,
        True,
    )
    assert product.releasegate("deployed").code == 0
    assert product.pytest("-m", "deploy", "--verdict", "phase").code == 0


def test_findings_of_a_test_without_a_gate_are_refused(product):
    product.gates("predeploy", GOOD)
    product.write("smoke/test_x.py", "def test_x(finding):\n    finding('a', expected=1, actual=2, ok=False)\n")
    ran = product.pytest("smoke/test_x.py")
    assert (ran.code != 0, ran.has("bears no gate")) == (True, True), ran.out
