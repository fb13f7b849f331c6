"""The client: each method is the call that its name says."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from conftest import SEED, page
from gatelet import GateletError, VerificationError, connect_gatelet, find_gatelet_bin, start_gatelet


def say(namespace, text="Hello"):
    return page(namespace).agents.messages.create(namespace.refs["helper"], input=text).messages[-1].content


def test_a_namespace_is_a_gatelet_of_its_own(server):
    with server.namespace("one", seed=SEED) as one, server.namespace(seed=SEED) as two:
        assert one.name == "one" and one.refs["helper"] != two.refs["helper"]
        assert say(one) == "Echo: Hello"
        assert len(one.journal.entries()) == 1 and two.journal.entries() == []
        assert one.describe()["counts"]["agent"] == 1
    with pytest.raises(GateletError) as refusal:
        one.describe()
    assert (refusal.value.status, refusal.value.code) == (404, "namespace_not_found")


@pytest.mark.parametrize("name", ["seed.json", "seed.toml"])
def test_a_seed_is_a_dictionary_or_a_file(server, tmp_path, name):
    path = tmp_path / name
    table = 'clock = 2026-01-05T09:00:00Z\n[[agent]]\nref = "helper"\nname = "helper"\nmodel = "openai/gpt-4o-mini"\n'
    path.write_text(table if name.endswith("toml") else json.dumps(SEED))
    with server.namespace(seed=path) as namespace:
        assert namespace.refs["helper"].startswith("agent-")
        assert namespace.seed({"block": [{"ref": "policy", "label": "policy", "value": "Be kind."}]})
        assert namespace.refs["policy"].startswith("block-") and namespace.refs["helper"].startswith("agent-")


def test_a_seed_may_be_a_folder_or_a_list(server, tmp_path):
    folder = tmp_path / "seeds"
    folder.mkdir()
    model = 'model = "openai/gpt-4o-mini"\n'
    (folder / "b.toml").write_text(f'[[agent]]\nref = "two"\nname = "two"\n{model}')
    (folder / "a.json").write_text(json.dumps(SEED))
    (folder / "notes.md").write_text("Not a seed.")
    with server.namespace(seed={"agent": SEED["agent"]}) as namespace:
        exported = server_export(namespace)
    exported["agents"][0]["name"] = "imported"
    (folder / "0.af").write_text(json.dumps(exported))
    more = {"block": [{"ref": "policy", "label": "policy", "value": "Be kind."}]}
    with server.namespace(seed=[folder, more]) as namespace:
        assert namespace.refs.keys() == {"helper", "page", "two", "0", "policy"}


def server_export(namespace):
    return namespace._own.send("GET", f"/v1/agents/{namespace.refs['helper']}/export")


def test_a_mistake_is_named_with_its_place(server):
    with pytest.raises(GateletError, match="agents?.*/seed/agent/0/modle") as refusal:
        server.namespace(seed={"agent": [{"ref": "helper", "modle": "x"}]})
    assert (refusal.value.code, refusal.value.at) == ("seed_invalid", "/seed/agent/0/modle")


def test_tokens_are_issued_expired_and_revoked(namespace):
    for name in ("expire", "revoke"):
        token = namespace.token("helper", ["write_messages"], hostname="http://localhost:3000", expires_in="2m")
        namespace.tokens["page"] = token
        assert say(namespace) == "Echo: Hello"
        due = [timer for timer in namespace.clock()["pending"] if timer["id"] == token.id]
        assert due and str(token) == token.token
        getattr(namespace, name)(token if name == "expire" else token.token)
        with pytest.raises(Exception, match=f"token_{name}d"):
            say(namespace)


@pytest.mark.parametrize("lifetime", ["1h30m", 5400, timedelta(hours=1.5)])
def test_a_lifetime_is_by_the_clock_of_the_namespace(server, lifetime):
    for expiry in ("literal", "as_meant"):
        with server.namespace(seed=SEED, clock={"now": "2030-01-05T09:00:00Z", "expiry": expiry}) as namespace:
            origin = "http://localhost:3000"
            token = namespace.token("helper", ["write_messages"], hostname=origin, expires_in=lifetime)
            [timer] = [timer for timer in namespace.clock()["pending"] if timer["id"] == token.id]
            assert re.match(r"2030-01-05T10:(29:59|30:00)", timer["due"])


def test_the_clock_is_the_tests(namespace):
    namespace.clock(now="2030-01-01T00:00:00Z")
    assert namespace.advance("5m")["now"].startswith("2030-01-01T00:05")
    assert namespace.advance(1.5)["settled"]
    assert namespace.advance(to="2030-01-02T00:00:00Z")["now"].startswith("2030-01-02")
    with pytest.raises(TypeError):
        namespace.advance()


def test_the_journal_is_read_and_waited_for(namespace):
    say(namespace)
    say(namespace, "Bye")
    [first, second] = namespace.journal.wait_for(count=2, operation="SendMessage", phase="finished")
    assert namespace.journal.entry(first["id"])["sent"]["body"]["input"] == "Hello"
    assert namespace.journal.entries(text="Bye") == [second]
    assert namespace.journal.entries(after=namespace.journal.page(limit=1)["next"]) == [second]
    assert namespace.journal.frames(first["id"]) == []
    with pytest.raises(VerificationError, match="Waited 10ms for 1 of operation=ListAgents; there are 0"):
        namespace.journal.wait_for(operation="ListAgents", within=0.01)
    namespace.journal.clear()
    assert namespace.journal.entries() == []


def test_a_failed_verification_is_an_assertion_with_its_report(namespace):
    say(namespace)
    matched = namespace.verify({"operation": "SendMessage", "body": {"/input": "Hello"}, "times": 1}, nothing_else=True)
    assert matched == [[1]]
    with pytest.raises(AssertionError, match='found "Hello"') as report:
        namespace.verify({"operation": "SendMessage", "body": {"/input": "Bye"}}, within="10ms")
    assert report.value.body["missing"]


def test_a_request_is_explained(namespace):
    path = f"/v1/agents/{namespace.refs['helper']}/messages"
    token = namespace.tokens["page"].token
    explained = namespace.explain(token=token, method="GET", path=path, origin="http://localhost:3001")
    assert explained["code"] == "origin_mismatch"


def test_a_namespace_begins_anew_and_returns(namespace):
    old = namespace.tokens["page"]
    namespace.snapshot("ready")
    say(namespace)
    exported = namespace.export_snapshot("ready")
    namespace.restore("ready")
    assert namespace.describe()["counts"].get("message", 0) == 0 or say(namespace)
    namespace.reset()
    assert namespace.tokens["page"] != old and say(namespace) == "Echo: Hello"
    namespace.import_snapshot("copied", exported)
    with namespace.fork(snapshot="copied") as fork:
        assert fork.name != namespace.name and fork.refs["helper"]
    namespace.reset("empty")
    assert namespace.refs == {} and namespace.tokens == {}


def test_a_part_that_the_server_lacks_is_a_sentence(server, namespace):
    given = server.features
    server.features = frozenset()
    try:
        for call in (
            lambda: namespace.reply("weather", "Sunny."),
            lambda: namespace.fault(do={"status": 503}),
            lambda: namespace.verdicts(),
            lambda: server.namespace(replies=[]),
        ):
            with pytest.raises(GateletError, match=r"has no (replies|faults|verdicts): start a newer one\."):
                call()
    finally:
        server.features = given


def test_a_server_that_runs_is_used(server):
    other = connect_gatelet(server.base_url, server.api_key)
    assert other.version == server.version and other.env == server.env
    with other.namespace() as namespace:
        connected = connect_gatelet(namespace.base_url, namespace.api_key)
        assert connected.features == server.features
        with pytest.raises(GateletError):
            connected.namespace()
    with pytest.raises(GateletError, match="gatelet run -- COMMAND"):
        connect_gatelet()
    with pytest.raises(GateletError, match="cannot be reached at http://127.0.0.1:9"):
        connect_gatelet("http://127.0.0.1:9", "sk-let-0000000000000")


def test_a_start_that_fails_says_why(tmp_path):
    with pytest.raises(GateletError, match="(?s)ended before it was ready.*bogus"):
        start_gatelet(args=["--bogus"])
    with pytest.raises(GateletError, match="cannot be started"):
        start_gatelet(binary=tmp_path / "gatelet")
    (tmp_path / "seed.toml").write_text("[[agent]]\nmodle = 1\n")
    with pytest.raises(GateletError, match="seed.toml line 2"):
        start_gatelet(seed=tmp_path / "seed.toml")


def test_a_seed_of_the_server_is_that_of_the_default_namespace(tmp_path):
    (tmp_path / "seed.json").write_text(json.dumps(SEED))
    with start_gatelet(seed=tmp_path / "seed.json", env={"GATELET_LOG": "info"}) as server:
        assert server.refs["helper"].startswith("agent-") and server.tokens["page"].token.startswith("ck-let-")
        assert server.log == [] or "gatelet" in server.log[0]


def test_settings_of_the_developer_do_not_reach_it(monkeypatch):
    monkeypatch.setenv("GATELET_UPSTREAM_URL", "http://127.0.0.1:9")
    start_gatelet().stop()


def test_more_output_than_a_pipe_holds_does_not_stop_it(tmp_path):
    with start_gatelet(env={"GATELET_LOG": "info"}) as server, server.namespace(seed=SEED) as namespace:
        # Each request is a line of some 300 bytes; a pipe holds 64 KiB.
        for _ in range(400):
            server.connection.send("GET", "/v1/health/")
        assert say(namespace) == "Echo: Hello"


def test_it_ends_with_the_process_that_started_it(run):
    script = "import gatelet, os, sys; s = gatelet.start_gatelet(); print(s._process._process.pid, flush=True); os._exit(0)"
    pid = int(run(sys.executable, "-c", script))
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline, "the server outlives the process that started it"
        time.sleep(0.01)


def test_an_interrupt_ends_the_tests_and_not_the_server_before_them():
    script = (
        "import gatelet, time\n"
        "with gatelet.start_gatelet() as server:\n"
        "    try:\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "    except KeyboardInterrupt:\n"
        "        print(server.namespace('last').name)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, process_group=0)
    assert child.stdout.readline() == "ready\n"
    os.killpg(child.pid, signal.SIGINT)
    assert child.communicate(timeout=20)[0] == "last\n"


def test_the_program_is_the_one_of_the_wheel():
    assert os.fspath(find_gatelet_bin()).startswith(sys.prefix)
