"""What a client token may and may not do, said through the unmodified SDK of either generation."""

from datetime import datetime, timedelta, timezone

import pytest
from support import allow, allowing, in_seconds, running_gatelet, until

PAGE = "https://app.example"
ELSEWHERE = "https://evil.example"
EVERY_ACCESS = ["read_messages", "write_messages", "read_agent", "write_agent"]


@pytest.fixture(scope="module")
def server(generation, gatelet):
    return generation.Client(gatelet["url"], gatelet["api_key"])


@pytest.fixture(scope="module")
def agent(server):
    return server.create_agent("Ada", blocks=[{"label": "human", "value": "Likes tea."}])


@pytest.fixture(scope="module")
def other_agent(server):
    return server.create_agent("Bob")


@pytest.fixture
def page(generation, gatelet):
    """Makes a client as a page on an origin would hold it."""
    return lambda bearer, origin=PAGE: generation.Client(gatelet["url"], bearer, origin)


@pytest.fixture
def issue(server, agent):
    """Issues a token for the agent."""

    def issue(access=EVERY_ACCESS, agent_id=agent.id, hostname=PAGE, **expiry):
        return server.create_token(agent_id, access, hostname, **expiry or {"expires_at": in_seconds(600)})

    return issue


@pytest.fixture
def apart(generation, gatelet):
    """An API key, an agent and a token where a test may break these rules."""

    def apart(**rules):
        place = allowing(gatelet, **rules)
        owner = generation.Client(place["url"], place["api_key"])
        agent = owner.create_agent("Eve")
        return place["api_key"], agent, owner.create_token(agent.id, EVERY_ACCESS, PAGE).token

    return apart


@pytest.fixture
def refused(generation):
    """Expects the SDK to raise its own error class, with Gatelet's code and sentence in it."""

    def refused(call, status, code, *sentence):
        with pytest.raises(generation.error_class(status)) as caught:
            call()
        seen_status, seen_code, text = generation.refusal(caught.value)
        assert (seen_status, seen_code) == (status, code)
        for part in sentence:
            assert part.lower() in text.lower()

    return refused


def texts(messages, message_type):
    return [each.content for each in messages if each.message_type == message_type]


def test_a_token_comes_back_with_its_policy_host_name_and_expiry(issue, agent):
    expires_at = in_seconds(600)
    token = issue(access=["read_messages"], expires_at=expires_at)
    assert token.token.startswith("ck-let-")
    assert token.hostname == PAGE
    asked, given = (datetime.fromisoformat(each) for each in (expires_at, token.expires_at))
    assert abs(asked - given) < timedelta(milliseconds=1)
    assert token.policy.version == "1"
    assert [(each.type, each.id, each.access) for each in token.policy.data] == [("agent", agent.id, ["read_messages"])]


def test_an_expiry_without_a_zone_is_utc(issue):
    naive = datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(minutes=10)
    token = issue(expires_at=naive.isoformat())
    given = datetime.fromisoformat(token.expires_at).replace(tzinfo=None)
    assert abs(given - naive) < timedelta(milliseconds=1)


def test_tokens_are_listed_for_one_agent_page_by_page(issue, server, other_agent):
    issued = [issue(agent_id=other_agent.id).token for _ in range(3)]
    first = server.list_tokens(agent_id=other_agent.id, limit=2)
    assert [each.token for each in first.tokens] == [issued[2], issued[1]]
    assert first.has_next_page
    second = server.list_tokens(agent_id=other_agent.id, limit=2, offset=2)
    assert [each.token for each in second.tokens] == [issued[0]]
    assert not second.has_next_page
    issue()
    assert len(server.list_tokens(limit=1000).tokens) > 3


def test_a_bad_request_to_issue_a_token_names_the_field(issue, refused):
    refused(lambda: issue(hostname=f"{PAGE}/"), 400, "invalid_request", "hostname")
    refused(lambda: issue(expires_at=in_seconds(-1)), 400, "invalid_request", "expires_at")
    refused(lambda: issue(agent_id="no such form of id"), 400, "invalid_request", "policy")


def test_a_page_sends_a_message_streams_replies_and_reads_the_history(issue, page, agent):
    client = page(issue(access=["read_messages", "write_messages"]).token)

    answer = client.send(agent.id, "Hello")
    assert texts(answer.messages, "assistant_message") == ["Echo: Hello"]
    assert answer.stop_reason.stop_reason == "end_turn"

    steps = client.stream(agent.id, "Whole messages", stream_tokens=False)
    assert texts(steps, "assistant_message") == ["Echo: Whole messages"]
    assert [each.message_type for each in steps[-2:]] == ["stop_reason", "usage_statistics"]

    pieces = texts(client.stream(agent.id, "One token after the other", stream_tokens=True), "assistant_message")
    assert len(pieces) > 1
    assert "".join(pieces) == "Echo: One token after the other"

    history = client.messages(agent.id)
    assert texts(history, "user_message")[-3:] == ["Hello", "Whole messages", "One token after the other"]
    assert texts(history, "assistant_message")[-1] == "Echo: One token after the other"


def test_a_page_reads_and_changes_its_agent_and_the_agents_memory(issue, page, server, agent):
    client = page(issue().token)
    assert client.retrieve_agent(agent.id).name == "Ada"
    assert client.describe_agent(agent.id, "Changed by the page").description == "Changed by the page"
    assert server.retrieve_agent(agent.id).description == "Changed by the page"

    assert [each.label for each in client.blocks(agent.id)] == ["human"]
    client.write_block(agent.id, "human", "Likes coffee.")
    assert client.read_block(agent.id, "human").value == "Likes coffee."


def test_a_request_from_no_origin_or_another_one_is_refused(apart, page, refused):
    _, agent, token = apart(origin_refused="It is refused, and the client learns why.")
    refused(lambda: page(token, None).messages(agent.id), 403, "origin_missing", "Origin", "origin-missing")
    refused(lambda: page(token, ELSEWHERE).messages(agent.id), 403, "origin_mismatch", PAGE, ELSEWHERE)
    refused(lambda: page(token, ELSEWHERE).stream(agent.id, "Hi", stream_tokens=True), 403, "origin_mismatch")


def test_what_the_policy_does_not_grant_is_refused(issue, page, refused, agent, other_agent):
    client = page(issue(access=["write_messages"]).token)
    refused(lambda: client.messages(other_agent.id), 403, "agent_not_in_policy", other_agent.id)
    refused(lambda: client.messages(agent.id), 403, "access_not_granted", "read_messages", agent.id)
    refused(lambda: client.retrieve_agent(agent.id), 403, "access_not_granted", "read_agent", agent.id)
    refused(lambda: client.describe_agent(agent.id, "Mine"), 403, "access_not_granted", "write_agent", agent.id)


def test_what_no_policy_can_grant_is_refused(issue, page, refused, agent):
    token = issue().token
    client = page(token)
    refused(client.list_agents, 403, "operation_not_available")
    refused(lambda: client.create_agent("Mallory"), 403, "operation_not_available")
    refused(client.list_tokens, 403, "api_key_required", "API key")
    refused(lambda: client.delete_token(token), 403, "api_key_required", "API key")
    refused(lambda: client.create_token(agent.id, EVERY_ACCESS, PAGE), 403, "api_key_required", "API key")
    refused(lambda: client.send(agent.id, "You are mine", role="system"), 403, "field_not_granted", "role")
    model = {"override_model": "openai/gpt-4o"}
    refused(lambda: client.send(agent.id, "Hi", **model), 403, "field_not_granted", "override_model")


def test_an_expired_token_says_so(generation, issue, page, refused, agent):
    client = page(issue(expires_at=in_seconds(2)).token)

    def expired():
        try:
            client.messages(agent.id)
        except generation.error_class(401):
            return True

    until("the token has expired", expired)
    refused(lambda: client.messages(agent.id), 401, "token_expired", "expired")


def test_a_deleted_token_is_refused_at_once_and_deleting_it_again_is_no_error(issue, page, refused, server, agent):
    token = issue().token
    client = page(token)
    client.messages(agent.id)
    server.delete_token(token)
    refused(lambda: client.messages(agent.id), 401, "token_revoked", "revoked")
    server.delete_token(token)
    assert token not in [each.token for each in server.list_tokens(agent_id=agent.id, limit=1000).tokens]


def test_a_bearer_that_is_not_ours_learns_nothing(issue, page, refused, agent):
    refused(lambda: page("garbage").messages(agent.id), 401, "bearer_invalid")
    refused(page("sk-let-0123456789abcdef", None).list_agents, 401, "bearer_invalid")
    refused(lambda: page(issue().token[:-6] + "AAAAAA").messages(agent.id), 401, "bearer_invalid")


def test_a_server_key_in_a_browser_is_refused(apart, page, refused):
    api_key, _, _ = apart(api_key_in_browser="It is refused, and the client learns why.")
    refused(page(api_key).list_agents, 403, "api_key_in_browser")


def test_lettas_own_errors_come_in_their_class(server, refused):
    missing = "agent-00000000-0000-4000-8000-000000000000"
    refused(lambda: server.retrieve_agent(missing), 404, "not_found", missing)
    refused(lambda: server.retrieve_agent("agent-malformed"), 422, "validation_failed", "agent-")
    idle = server.create_agent("Idle")
    refused(lambda: server.cancel(idle.id), 409, "conflict", "No active runs")


def test_all_pages_of_the_agents_are_walked_once(server):
    created = [server.create_agent(f"Paged {count}", tags=["paged"]).id for count in range(5)]
    assert [each.id for each in server.walk_agents("paged", limit=2)] == created[::-1]


def test_with_origin_missing_allow_a_script_needs_no_origin(generation):
    with running_gatelet("--origin-missing", "allow") as banner:
        allow(banner, origin_refused="An origin that is named must still be the right one.")
        server = generation.Client(banner["url"], banner["api_key"])
        agent = server.create_agent("Ada")
        token = server.create_token(agent.id, ["write_messages"], PAGE).token
        script = generation.Client(banner["url"], token)
        assert texts(script.send(agent.id, "Hello").messages, "assistant_message") == ["Echo: Hello"]
        elsewhere = generation.Client(banner["url"], token, ELSEWHERE)
        with pytest.raises(generation.error_class(403)) as caught:
            elsewhere.send(agent.id, "Hello")
        assert generation.refusal(caught.value)[1] == "origin_mismatch"
