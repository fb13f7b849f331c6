"""The plugin for pytest, by suites that use it."""

import json

import pytest
from conftest import SEED

HEAD = """
import pytest
from letta_client import Letta

def say(gatelet, text="Hello", origin="http://localhost:3000"):
    token = gatelet.tokens["page"].token
    letta = Letta(base_url=gatelet.base_url, api_key=token, default_headers={"Origin": origin}, max_retries=0)
    return letta.agents.messages.create(gatelet.refs["helper"], input=text).messages[-1].content

pytestmark = pytest.mark.gatelet(seed="seed.json")
"""


@pytest.fixture(autouse=True)
def seed(tmp_path):
    (tmp_path / "seed.json").write_text(json.dumps(SEED))


def test_each_test_has_a_namespace_and_each_worker_a_server(run_tests):
    output = run_tests(
        HEAD
        + """
@pytest.mark.parametrize("n", range(6))
def test_it(gatelet, gatelet_server, gatelet_env, n, worker_id):
    assert say(gatelet) == "Echo: Hello"
    assert len(gatelet.journal.entries()) == 1
    names = {each["name"] for each in gatelet_server.connection.control("GET", "/ns")["namespaces"]}
    assert names == {"default", gatelet.name}, "those of earlier tests are deleted"
    assert gatelet_env["LETTA_API_KEY"] == gatelet.api_key and gatelet_env["GATELET_URL"] == gatelet_server.base_url
    print("port of", worker_id, gatelet.base_url)
""",
        "-n",
        "2",
        "-rP",
    )
    assert "6 passed" in output
    workers = {line.split()[-2:][0]: line.split()[-1] for line in output.splitlines() if line.startswith("port of")}
    assert len(set(workers.values())) == len(workers)


def test_ids_are_the_same_in_each_run(run_tests):
    test = HEAD + "def test_it(gatelet):\n    print('id', gatelet.refs['helper'], gatelet.name)\n"
    ids = [[line for line in run_tests(test, "-rP").splitlines() if line.startswith("id ")] for _ in range(2)]
    assert ids[0] == ids[1] != []


def test_a_failure_shows_what_was_sent(run_tests):
    output = run_tests(
        HEAD
        + """
def test_it(gatelet):
    say(gatelet)
    say(gatelet, origin="http://evil.example")
""",
        expect=1,
    )
    assert "gatelet: requests of test-it-" in output
    assert "#1 SendMessage by client_token: 200" in output
    assert "#2 SendMessage by client_token: 403 origin_mismatch" in output
    assert "The token is bound to http://localhost:3000" in output


def test_markers_add_up(run_tests):
    output = run_tests(
        HEAD
        + """
pytestmark = [pytest.mark.gatelet(seed="seed.json", clock="2026-01-05T09:00:00Z")]

@pytest.mark.gatelet(clock="2030-01-05T09:00:00Z", limits={"requests_per_minute": 5})
class TestIt:
    @pytest.mark.gatelet(limits={"requests_per_minute": 1})
    def test_it(self, gatelet):
        assert gatelet.clock()["now"].startswith("2030")
        say(gatelet)
        with pytest.raises(Exception, match="429"):
            say(gatelet)

@pytest.mark.gatelet("seed.json")
def test_by_place(gatelet):
    pass

@pytest.mark.gatelet(sed="seed.json")
def test_by_mistake(gatelet):
    pass
""",
        "--strict-markers",
        expect=1,
    )
    assert "1 passed" in output and "takes its arguments by name" in output and "sed" in output


def test_the_configuration_names_a_seed_for_all(run_tests, tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_more.py").write_text("def test_more(gatelet):\n    assert gatelet.refs['helper']\n")
    test = "def test_it(gatelet):\n    assert gatelet.tokens['page']\n"
    assert "2 passed" in run_tests(test, "-o", "gatelet_seed=seed.json", "tests")


def test_a_marker_may_name_several_seeds(run_tests, tmp_path):
    (tmp_path / "more.toml").write_text('[[block]]\nref = "policy"\nlabel = "policy"\nvalue = "Be kind."\n')
    marker = '@pytest.mark.gatelet(seed=["seed.json", "more.toml", {"tool": []}])\n'
    test = f"import pytest\n\n{marker}def test_it(gatelet):\n    assert gatelet.refs.keys() == {{'helper', 'page', 'policy'}}\n"
    assert "1 passed" in run_tests(test)


def test_a_server_that_runs_is_used_and_keeps_what_failed(run_tests, server):
    test = HEAD + "def test_it(gatelet):\n    assert False\n\ndef test_that(gatelet):\n    pass\n"
    env = {"GATELET_KEY": server.api_key, "GATELET_KEEP": "failed"}
    before = names(server)
    run_tests(test, "--gatelet-url", server.base_url, expect=1, env=env)
    run_tests(test, expect=1, env=env | {"GATELET_URL": server.base_url})
    kept = names(server) - before
    assert len(kept) == 2 and all(name.startswith("test-it-") for name in kept), kept
    for name in kept:
        server.connection.control("DELETE", f"/ns/{name}")
    output = run_tests(test, "--gatelet-url", server.base_url, expect=1)
    assert "GATELET_KEY is not set" in output


def test_another_program_may_be_named(run_tests):
    test = "def test_it(gatelet):\n    pass\n"
    assert "/nowhere/gatelet cannot be started" in run_tests(test, "--gatelet-binary", "/nowhere/gatelet", expect=1)


def test_a_test_that_fails_by_a_server_that_ended_shows_its_log(run_tests):
    output = run_tests(
        HEAD
        + """
def test_it(gatelet, gatelet_server):
    gatelet_server.stop()
    say(gatelet)
""",
        expect=1,
    )
    assert "cannot be reached" in output and "requests of test-it-" in output


def names(server):
    return {each["name"] for each in server.connection.control("GET", "/ns")["namespaces"]}
