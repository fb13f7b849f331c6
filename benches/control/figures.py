"""What is measured, part by part."""

import http.client
import json
import os
import random
import re
import subprocess
import threading
import time
from pathlib import Path
from statistics import median

from report import spread, verdict
from servers import GENERATOR_CORE, SERVER_CORE

NS = "/_gatelet/v1/ns"
ORIGIN = "https://app.example"
MESSAGE = {"messages": [{"role": "user", "content": "What did we decide about the launch?"}]}
CONNECTIONS = 32

CREATED, CHANGED, IDLE, AGENTS, MESSAGES = 500, 100, 200, 20, 500
NAMESPACES, THREADS = 200, 8
REPLIES, TURNS = 1_000, 500
RUNS, INTERLEAVINGS = 100, 8


class Gatelet:
    """A server in memory, on the first core."""

    def __init__(self, binary, directory, control=True):
        command = [binary, "serve", "--ephemeral", "--listen", "127.0.0.1:0", "--log", "warn", "--log-format", "json"]
        settings = {"GATELET_CONTROL": str(control).lower(), "GATELET_CONTROL__NAMESPACES": "1024"}
        began = time.perf_counter()
        self.process = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | settings,
            cwd=directory,
        )
        banner = json.loads(self.process.stdout.readline())
        self.port, self.key = int(banner["url"].rpartition(":")[2]), banner["api_key"]
        self.control_client = Client(self.port, self.key)
        self.control_client.call("GET", "/v1/agents/")
        self.start_ms = (time.perf_counter() - began) * 1e3

    def create(self, **body):
        return self.control_client.call("POST", NS, body)

    def memory(self):
        """Resident memory, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def cpu(self):
        """The CPU time that it has used, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait(15)


class Client:
    """A caller with one connection."""

    def __init__(self, port, bearer, **headers):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.connect()
        self.headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"} | headers

    def send(self, method, path, body=None):
        """Status and text of the response."""
        body = None if body is None else json.dumps(body)
        self.connection.request(method, path, body, self.headers)
        response = self.connection.getresponse()
        return response.status, response.read().decode()

    def call(self, method, path, body=None):
        """The JSON of a response that must be a success."""
        status, text = self.send(method, path, body)
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {text}")
        return json.loads(text) if text else None

    def token(self, agent, access):
        policy = [{"type": "agent", "id": agent, "access": access}]
        request = {"policy": policy, "hostname": ORIGIN}
        return self.call("POST", "/v1/client-side-access-tokens", request)["token"]


def timed(call, times):
    """How long each of several calls takes, in milliseconds."""
    measured = []
    for number in range(times):
        began = time.perf_counter()
        call(number)
        measured.append((time.perf_counter() - began) * 1e3)
    return sorted(measured)


def namespaces(binary, directory, options, report):
    rows = []

    def row(what, figure, goal, met):
        rows.append([what, figure, f"{goal}: {verdict(met)}" if goal else ""])

    starts = []
    for _ in range(9):
        server = Gatelet(binary, directory)
        starts.append(server.start_ms)
        server.stop()
    row("start to first response", f"{spread(starts, digits=0)} ms", "< 50 ms", median(starts) < 50)

    server = Gatelet(binary, directory)
    first = server.create()
    server.control_client.call("DELETE", f"{NS}/{first['name']}")
    before = server.memory()
    created = timed(lambda number: server.create(name=f"idle-{number}"), IDLE)
    each = (server.memory() - before) / IDLE
    for number in range(IDLE):
        server.control_client.call("DELETE", f"{NS}/idle-{number}")
    for number in range(CREATED - IDLE):
        created += timed(lambda _: server.create(name="one"), 1)
        server.control_client.call("DELETE", f"{NS}/one")
    created.sort()
    row(f"create, p50 of {CREATED}", f"{median(created):.2f} ms", "< 2 ms", median(created) < 2)
    p99 = created[len(created) * 99 // 100]
    row(f"create, p99 of {CREATED}", f"{p99:.2f} ms", "< 10 ms", p99 < 10)
    row(f"memory for each of {IDLE} idle namespaces", f"{each:.0f} KiB", "< 1 MiB", each < 1024)

    texts = [{"role": role, "content": f"What we decided about point {n}."} for n in range(12) for role in ("user", "assistant")]
    agents = [
        {"name": f"agent-{n}", "model": "openai/gpt-4o-mini", "messages": texts + texts[:1]} for n in range(AGENTS)
    ]
    server.create(name="full", seed={"agent": agents})
    counts = server.control_client.call("GET", f"{NS}/full")["counts"]
    stored = f"{counts['agent']} agents with {counts['message']} messages"
    full = f"{NS}/full"
    calls = {
        "snapshot": lambda _: server.control_client.call("PUT", f"{full}/snapshots/s"),
        "restore": lambda _: server.control_client.call("POST", f"{full}/snapshots/s/restore"),
        "reset": lambda _: server.control_client.call("POST", f"{full}/reset"),
    }
    for what, call in calls.items():
        took = timed(call, CHANGED)
        goal = None if what == "snapshot" else "< 5 ms"
        row(f"{what} of {stored}, p50 and p99 of {CHANGED}",
            f"{median(took):.2f} and {took[CHANGED * 99 // 100]:.2f} ms", goal, median(took) < 5)
    server.stop()
    report.table("namespaces", "Namespaces", ["", "", "goal"], rows)


def overhead(binary, directory, options, report):
    """GETs of the mock without and with a control API, in `default` and in a namespace."""
    off, on = Gatelet(binary, directory, control=False), Gatelet(binary, directory)
    created = on.create(name="bench")
    cases = {
        "control off": (off, Client(off.port, off.key)),
        "control on, `default`": (on, Client(on.port, on.key)),
        "control on, a namespace": (on, Client(on.port, created["api_key"])),
    }
    paths, measured = {}, {name: [] for name in cases}
    for name, (server, client) in cases.items():
        agent = client.call("POST", "/v1/agents/", {"name": "bench", "model": "openai/gpt-4o-mini"})["id"]
        for _ in range(5):
            client.call("POST", f"/v1/agents/{agent}/messages", MESSAGE)
        paths[name] = (f"/v1/agents/{agent}/messages?limit=10", client.token(agent, ["read_messages"]))
    for _ in range(options.rounds):
        for name, (server, _) in cases.items():
            path, token = paths[name]
            load(server.port, path, token, 1)
            used = server.cpu()
            speed = load(server.port, path, token, options.seconds)
            measured[name].append((speed, (server.cpu() - used) / (speed * options.seconds) * 1e6))
    off.stop()
    on.stop()
    rows = []
    for name, rounds in measured.items():
        costs = [cost / base for (_, cost), (_, base) in zip(rounds, measured["control off"])]
        goal = "" if name == "control off" else f"1.25: {verdict(median(costs) <= 1.25)}"
        speeds = median(speed for speed, _ in rounds)
        rows.append([name, f"{speeds:,.0f}", f"{median(cost for _, cost in rounds):.1f}", spread(costs), goal])
    header = ["", "requests/s", "CPU us/request", "CPU to that with control off (range)", "goal"]
    report.table("overhead", "GET messages of the mock in memory, by a client token", header, rows)


def turns(binary, directory, options, report):
    """What a turn costs if a namespace has many replies."""

    def replies(text):
        """As many replies as there may be, of which only the last one fits the text."""
        patterns = ["^Question {} about the launch", "decide on point {}$", "(?<what>item {}) of the (agenda|list)"]
        others = [{"user": patterns[n % 3].format(n), "agent": "bench", "steps": [{"assistant": f"Answer {n}."}]}
                  for n in range(REPLIES - 1)]
        return others + [{"text": text, "steps": [{"assistant": "We decided to wait."}]}]

    server = Gatelet(binary, directory)
    cases = {
        "no replies": [],
        f"{REPLIES:,} replies, the last one fits": replies("about the launch"),
        f"{REPLIES:,} replies, none fits": replies("about the weather"),
    }
    clients, measured = {}, {name: [] for name in cases}
    for number, (name, given) in enumerate(cases.items()):
        created = server.create(name=f"turns-{number}", replies=given)
        clients[name] = Client(server.port, created["api_key"])
    for _ in range(options.rounds):
        for name, client in clients.items():
            agent = client.call("POST", "/v1/agents/", {"name": "bench", "model": "openai/gpt-4o-mini"})["id"]
            used = server.cpu()
            for _ in range(TURNS):
                client.call("POST", f"/v1/agents/{agent}/messages", MESSAGE)
            measured[name].append((server.cpu() - used) / TURNS * 1e6)
    server.stop()
    rows = []
    for name, costs in measured.items():
        to_none = [cost / base for cost, base in zip(costs, measured["no replies"])]
        goal = "" if name == "no replies" else f"1.05: {verdict(median(to_none) <= 1.05)}"
        rows.append([name, f"{median(costs):.0f}", spread(to_none), goal])
    header = ["", "CPU us/turn", "CPU to that without replies (range)", "goal"]
    report.table("turns", "Turns of an agent, by an API key", header, rows)


# Half of them for other operations, the rest for other agents by name, or for this one much later.
FAULTS = (
    [{"where": {"operation": "ListMessages"}, "do": {"status": 500}}] * 50
    + [{"where": {"agent": f"other-{number}"}, "do": {"status": 500}} for number in range(25)]
    + [{"where": {"caller": "client_token"}, "when": {"nth": [10**9]}, "do": {"status": 500}}] * 25
)
OTHER_REPLIES = [{"user": f"^Tell me about topic {number} of", "steps": [{"assistant": "No."}]} for number in range(1_000)]


def injected(binary, directory, options, report):
    """Turns in namespaces without and with faults and replies, none of which fits."""
    server = Gatelet(binary, directory)
    cases = {
        "none": {},
        f"{len(FAULTS)} faults": {"faults": FAULTS},
        f"{len(OTHER_REPLIES):,} replies": {"replies": OTHER_REPLIES},
        "both": {"faults": FAULTS, "replies": OTHER_REPLIES},
    }
    keys = {name: server.create(**case)["api_key"] for name, case in cases.items()}
    measured = {name: [] for name in cases}
    for number in range(max(options.rounds, 5)):
        for name, key in keys.items():
            owner = Client(server.port, key)
            agent = owner.call("POST", "/v1/agents/", {"name": f"bench-{number}", "model": "openai/gpt-4o-mini"})["id"]
            page = Client(server.port, owner.token(agent, ["write_messages"]), origin=ORIGIN)
            used, began = server.cpu(), time.perf_counter()
            for _ in range(TURNS):
                page.call("POST", f"/v1/agents/{agent}/messages", MESSAGE)
            took = time.perf_counter() - began
            measured[name].append((took / TURNS * 1e6, (server.cpu() - used) / TURNS * 1e6))
    server.stop()
    rows = []
    for name, rounds in measured.items():
        costs = [cost / base for (_, cost), (_, base) in zip(rounds, measured["none"])]
        goal = "" if name == "none" else f"1.05: {verdict(median(costs) <= 1.05)}"
        took, cost = (median(round[place] for round in rounds) for place in (0, 1))
        rows.append([name, f"{took:.0f}", f"{cost:.0f}", spread(costs), goal])
    header = ["in the namespace", "us/turn", "CPU us/turn", "CPU to that with none (range)", "goal"]
    report.table("injected", "A turn of the mock in memory, by a client token", header, rows)


def load(port, path, token, seconds):
    """Requests per second that are answered."""
    command = ["taskset", "-c", GENERATOR_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s",
               "-H", f"authorization: Bearer {token}", "-H", f"origin: {ORIGIN}", f"http://127.0.0.1:{port}{path}"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    if "Non-2xx" in printed:
        raise SystemExit(printed)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])


class Tenant:
    """A namespace and what belongs to it. Everything that it stores carries its mark."""

    def __init__(self, number, server):
        self.number, self.port, self.mark = number, server.port, f"mark{number:04}x"
        created = server.create(name=f"tenant-{number}", clock={"timers": "instant", "frozen": True})
        self.key, self.name = created["api_key"], created["name"]
        self.agents, self.ids = [], set()
        self.token = None


def leaks(binary, directory, options, report):
    """Mixed requests to many namespaces at once; every response is searched for what belongs to another."""
    server = Gatelet(binary, directory)
    tenants = [Tenant(number, server) for number in range(NAMESPACES)]
    found, refused, done = [], [], [0] * THREADS
    began = time.perf_counter()
    threads = [
        threading.Thread(target=visit, args=(tenants, number, options.requests // THREADS, found, refused, done))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    owners = {}
    for tenant in tenants:
        client = Client(server.port, tenant.key)
        for path in (f"{NS}/-/journal?limit=1000", f"{NS}/-", "/v1/agents/", "/v1/runs/"):
            search(tenant, client.send("GET", path)[1], found)
        for name in tenant.ids:
            if owners.setdefault(name, tenant) is not tenant:
                found.append(f"{name} in two namespaces")
    server.stop()
    if refused:
        raise SystemExit(f"{len(refused)} requests failed: {refused[:3]}")
    rows = [[f"{NAMESPACES}", f"{sum(done):,}", f"{sum(done) / took:,.0f}", f"{len(owners):,}", f"{len(found)}",
             f"0: {verdict(not found)}"]]
    header = ["namespaces in parallel", "mixed requests", "requests/s", "ids of agents", "leaks", "goal"]
    report.table("leaks", "What one namespace shows of another", header, rows)
    for leak in found[:5]:
        print(leak)


def search(tenant, text, found):
    for mark in set(re.findall(r"mark\d{4}x", text)):
        if mark != tenant.mark:
            found.append(f"{tenant.name} shows {mark}: {text[:200]}")


def visit(tenants, thread, count, found, refused, done):
    """One caller's requests. It visits the namespaces in an order of its own; those of a thread are only its."""
    own = tenants[thread::THREADS]
    for tenant in own:
        tenant.client = Client(tenant.port, tenant.key)
    for number in range(count):
        tenant = own[number * 7 % len(own)]
        other = tenants[(tenant.number + 1 + number % (len(tenants) - 1)) % len(tenants)]
        client, turn = tenant.client, number // len(own) % 10
        if not tenant.agents or (turn == 0 and len(tenant.agents) < 5):
            body = {"name": tenant.mark, "model": "openai/gpt-4o-mini", "tags": [tenant.mark]}
            expected, (status, text) = 200, client.send("POST", "/v1/agents/", body)
            if status == 200:
                tenant.agents.append(json.loads(text)["id"])
                tenant.ids.add(tenant.agents[-1])
                tenant.token = client.token(tenant.agents[-1], ["read_agent"])
        elif turn == 1:
            said = {"messages": [{"role": "user", "content": f"Note {tenant.mark}"}]}
            expected, (status, text) = 200, client.send("POST", f"/v1/agents/{tenant.agents[0]}/messages", said)
        elif turn == 2 and other.agents:
            expected, (status, text) = 404, client.send("GET", f"/v1/agents/{other.agents[0]}")
        elif turn == 3:
            page = {"authorization": f"Bearer {tenant.token}", "origin": ORIGIN}
            kept, client.headers = client.headers, client.headers | page
            expected, (status, text) = 200, client.send("GET", f"/v1/agents/{tenant.agents[-1]}")
            client.headers = kept
        else:
            paths = ["/v1/agents/", f"/v1/agents/{tenant.agents[0]}/messages?limit=20", "/v1/blocks/",
                     "/v1/client-side-access-tokens", "/v1/tags/", "/v1/runs/?limit=5", f"{NS}/-/journal?limit=3"]
            expected, (status, text) = 200, client.send("GET", paths[(number // len(own) + turn) % len(paths)])
        done[thread] += 1
        if status != expected:
            refused.append(f"{status} for {expected}: {text[:300]}")
        search(tenant, text, found)


USERS, STEPS = ["ada", "bob", "cyd"], 5


def interleavings(binary, directory, options, report):
    """The same requests to namespaces with the same seed, in different orders: every response must be the same."""
    server = Gatelet(binary, directory)
    expected, differences, requests = None, 0, 0
    for run in range(RUNS):
        for order in range(INTERLEAVINGS):
            clock = {"now": "2030-01-05T09:00:00Z", "timers": "instant"}
            created = server.create(name="same", ids="same", clock=clock)
            client = Client(server.port, created["api_key"])
            turns = [user for user in USERS for _ in range(STEPS)]
            random.Random(f"{run} {order}").shuffle(turns)
            responses = {user: [] for user in USERS}
            agents = {}
            for user in turns:
                responses[user].append(converse(client, user, len(responses[user]), agents))
            requests += len(turns)
            expected = expected or responses
            differences += responses != expected
            server.control_client.call("DELETE", f"{NS}/same")
    server.stop()
    rows = [[f"{RUNS} x {INTERLEAVINGS}", f"{requests:,}", f"{differences}", f"0: {verdict(not differences)}"]]
    report.table("interleavings", "The same requests in different orders", ["runs", "requests", "runs that differ", "goal"], rows)


def converse(client, user, step, agents):
    """One step of a user's conversation with an agent of its own."""
    if step == 0:
        body = {"name": user, "model": "openai/gpt-4o-mini", "memory_blocks": [{"label": "human", "value": user}]}
        status, text = client.send("POST", "/v1/agents/", body)
        agents[user] = json.loads(text)["id"]
        return status, text
    agent = f"/v1/agents/{agents[user]}"
    if step == 1:
        return client.send("POST", f"{agent}/messages", MESSAGE)
    if step == 2:
        return client.send("POST", f"{agent}/messages/stream", MESSAGE | {"stream_tokens": True})
    return client.send("GET", f"{agent}/messages?order=asc" if step == 3 else agent)
