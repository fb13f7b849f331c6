"""Clients: what they do under load, and how they check what they were told."""

import threading
import time
from datetime import datetime, timedelta, timezone

from ledger import Agent, Ledger, Violation, check_messages
from server import Gone

# How many agents and tokens one client has at a time.
AGENTS, TOKENS = 3, 4
ORIGIN = "https://app.example"
TOKENS_PATH = "/v1/client-side-access-tokens"
USER_MESSAGES = "messages?limit=1000&include_return_message_types=user_message"
# How long a turn that was left unfinished may take until it is answered, in seconds.
PATIENCE = 60


class Refused(Exception):
    """The database could not serve in time; what was asked may have happened all the same."""


class Client:
    """Somebody with agents and tokens of their own."""

    def __init__(self, number, server, chance):
        self.number, self.server, self.chance = number, server, chance
        self.ledger = Ledger()
        self.count = 0
        self.failure = None

    def run(self):
        """Does one thing after the other, until the process is gone."""
        connection = self.server.connect()
        try:
            while True:
                try:
                    self.act(connection)
                except Refused:
                    self.ledger.unknown += 1
        except Gone:
            self.ledger.unknown += 1
        except Exception as failure:  # noqa: BLE001, told by whoever joins
            self.failure = failure
        finally:
            connection.close()

    def act(self, connection):
        known = self.ledger.known()
        if not known or (len(self.ledger.agents) < AGENTS and self.chance.random() < 0.3):
            return self.create_agent(connection)
        choice = self.chance.random()
        agent = self.chance.choice(known)
        if choice < 0.08:
            self.delete_agent(connection, agent)
        elif choice < 0.4:
            self.send(connection, agent, "messages")
        elif choice < 0.7:
            self.send(connection, agent, "messages/async")
        elif len(self.ledger.live) < TOKENS:
            self.create_token(connection, agent)
        else:
            self.revoke_token(connection)

    def name(self, kind):
        self.count += 1
        return f"{kind}-{self.number}-{self.count}"

    def create_agent(self, connection):
        agent = Agent(self.name("agent"))
        self.ledger.agents.append(agent)
        agent.id = ask(connection, "POST", "/v1/agents/", {"name": agent.name, "model": "openai/gpt-4o-mini"})["id"]
        self.ledger.acknowledged += 1

    def delete_agent(self, connection, agent):
        agent.may_be_gone = agent.is_touched = True
        ask(connection, "DELETE", f"/v1/agents/{agent.id}")
        self.ledger.agents.remove(agent)
        self.ledger.deleted_lately.append(agent.id)
        self.ledger.acknowledged += 1

    def send(self, connection, agent, path):
        text = self.name("message")
        agent.messages[text] = False
        agent.is_touched = True
        ask(connection, "POST", f"/v1/agents/{agent.id}/{path}", {"input": text})
        agent.messages[text] = True
        self.ledger.acknowledged += 1

    def create_token(self, connection, agent):
        expiry = datetime.now(timezone.utc) + timedelta(days=7)
        request = {
            "policy": [{"type": "agent", "id": agent.id, "access": ["read_agent"]}],
            "hostname": ORIGIN,
            "expires_at": expiry.isoformat(),
        }
        self.ledger.live.append(ask(connection, "POST", TOKENS_PATH, request, 201)["token"])
        self.ledger.acknowledged += 1

    def revoke_token(self, connection):
        # One of which nothing is heard may be revoked or not, so it is no longer anybody's.
        token = self.ledger.live.pop(self.chance.randrange(len(self.ledger.live)))
        ask(connection, "DELETE", f"{TOKENS_PATH}/{token}", expected=204)
        self.ledger.revoked_lately.append(token)
        self.ledger.acknowledged += 1

    def check(self):
        """Checks what was done lately."""
        if self.failure:
            raise self.failure
        ledger, connection = self.ledger, self.server.connect()
        for agent in [agent for agent in ledger.agents if agent.is_touched]:
            self.check_agent(connection, agent)
        for agent_id in ledger.deleted_lately:
            check_deleted(connection, agent_id)
        for token in ledger.live:
            check_token(connection, token, 403, "operation_not_available")
        for token in ledger.revoked_lately:
            check_token(connection, token, 401, "token_revoked")
        ledger.deleted += ledger.deleted_lately
        ledger.revoked += ledger.revoked_lately
        ledger.deleted_lately, ledger.revoked_lately = [], []
        connection.close()

    def check_everything(self):
        """Checks all that was ever done."""
        ledger, connection = self.ledger, self.server.connect()
        for agent in list(ledger.agents):
            self.check_agent(connection, agent)
        for agent_id in ledger.deleted:
            check_deleted(connection, agent_id)
        for token in ledger.revoked:
            check_token(connection, token, 401, "token_revoked")
        connection.close()

    def check_agent(self, connection, agent):
        named = ask(connection, "GET", f"/v1/agents/?name={agent.name}")
        if len(named) > 1:
            raise Violation(f"{agent.name} was created once, and is there {len(named)} times")
        if agent.id and not agent.may_be_gone and [found["id"] for found in named] != [agent.id]:
            raise Violation(f"{agent.name} was acknowledged, and is not there")
        agent.is_touched = agent.may_be_gone = False
        if not named:
            self.ledger.agents.remove(agent)
            return
        agent.id = named[0]["id"]
        deadline = time.monotonic() + PATIENCE
        while any(run["background"] for run in ask(connection, "GET", f"/v1/runs/?active=true&agent_id={agent.id}")):
            if time.monotonic() > deadline:
                raise Violation(f"{agent.name} has a run that was acknowledged, and is not answered in {PATIENCE} s")
            time.sleep(0.02)
        check_messages(agent, [m["content"] for m in ask(connection, "GET", f"/v1/agents/{agent.id}/{USER_MESSAGES}")])


def check_deleted(connection, agent_id):
    if connection.request("GET", f"/v1/agents/{agent_id}")[0] != 404:
        raise Violation(f"the deletion of {agent_id} was acknowledged, and it is there")


def check_token(connection, token, status, code):
    headers = {"Authorization": f"Bearer {token}", "Origin": ORIGIN}
    found, body = connection.request("GET", "/v1/agents/", headers=headers)
    if (found, body.get("code")) != (status, code):
        raise Violation(f"a token should be {status} {code}, and is {found} {body}")


def ask(connection, method, path, body=None, expected=200):
    """What an answer with the expected status holds."""
    status, answer = connection.request(method, path, body)
    if status == 503:
        raise Refused(f"{method} {path}: {answer}")
    if status != expected:
        raise Violation(f"{method} {path}: {status} {answer}")
    return answer


class Running:
    """Clients at work."""

    def __init__(self, threads):
        self.threads = threads

    def join(self):
        for thread in self.threads:
            thread.join()


def run_all(clients):
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    return Running(threads)

