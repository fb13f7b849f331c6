"""The container, on an engine that is made up and starts the program itself: real in all but the isolation."""

import json

import pytest
from conftest import SEED
from engine import Engine


@pytest.fixture
def engine(monkeypatch):
    engine = Engine()
    monkeypatch.setenv("DOCKER_HOST", engine.address)
    # These settings are read from the environment when the module is loaded.
    from testcontainers.core.config import ConnectionMode, testcontainers_config

    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    monkeypatch.setattr(testcontainers_config, "connection_mode_override", ConnectionMode.docker_host)
    yield engine
    engine.close()


def test_a_container_is_a_mock_that_tests_control(engine, tmp_path):
    from gatelet.testcontainers import GateletContainer

    seed, script = tmp_path / "seed.json", tmp_path / "replies.toml"
    seed.write_text(json.dumps(SEED))
    script.write_text('[[reply]]\nuser = "weather"\nsteps = [{ assistant = "Sunny." }]\n')
    with GateletContainer("ghcr.io/gatelet/gatelet:0.1.0").with_seed(seed).with_script(script) as container:
        assert engine.created["Image"] == "ghcr.io/gatelet/gatelet:0.1.0"
        assert list(engine.created["ExposedPorts"]) == ["8283/tcp"]
        variables = dict(each.split("=", 1) for each in engine.created["Env"])
        assert variables.keys() == {
            "GATELET_EPHEMERAL",
            "GATELET_CONTROL",
            "GATELET_BOOTSTRAP_API_KEY",
            "GATELET_SEED",
            "GATELET_SCRIPT",
        }
        assert variables["GATELET_BOOTSTRAP_API_KEY"] == container.api_key == container.server.api_key
        agents = container.server.connection.send("GET", "/v1/agents/")
        assert [agent["name"] for agent in agents] == ["helper"]
        with container.namespace(seed=SEED) as namespace:
            messages = f"/v1/agents/{namespace.refs['helper']}/messages"
            reply = namespace._own.send("POST", messages, {"input": "What is the weather?"})
            assert reply["messages"][-1]["content"] == "Sunny."
    assert engine.removed


def test_a_folder_is_a_seed_too(engine, tmp_path):
    from gatelet.testcontainers import GateletContainer

    folder = tmp_path / "seeds"
    folder.mkdir()
    (folder / "one.json").write_text(json.dumps({"agent": SEED["agent"]}))
    with GateletContainer("gatelet").with_seed(folder) as container:
        assert len(container.server.connection.send("GET", "/v1/agents/")) == 1


def test_the_name_of_an_engine_elsewhere_is_known_to_the_control_api(engine, monkeypatch):
    from gatelet.testcontainers import GateletContainer
    from testcontainers.core.config import testcontainers_config

    monkeypatch.setattr(testcontainers_config, "tc_host_override", "docker.internal.example")
    container = GateletContainer("gatelet").waiting_for(None)
    container.start()
    assert 'GATELET_CONTROL__HOSTS=["docker.internal.example"]' in engine.created["Env"]
    container.stop()
