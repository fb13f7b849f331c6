"""What is measured, part by part."""

import http.client
import json
import re
import sqlite3
import subprocess
import time
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median

from servers import API_KEY, GENERATOR_CORE, LIFETIME, ORIGIN, Server

GATELET_PORT, BARE_PORT, OTHER_BARE_PORT = 18201, 18202, 18203
CONNECTIONS = 32
WARM_UP = 1

# What is said to the agents, and answered.
MESSAGE = "What did we decide about the launch date yesterday? I believe that it depends on the translations."
TURNS = 100
BLOCKS = [
    {"label": "human", "value": "Sam works on the launch and likes short answers. " * 6},
    {"label": "persona", "value": "I keep notes of what was decided, and say when I do not know. " * 6},
]


class Bench:
    """Binaries, and a directory for one store and everything that is written."""

    def __init__(self, gatelet, bare, directory):
        self.gatelet, self.bare, self.directory = gatelet, bare, directory
        self.database = directory / "gatelet.db"
        self.running = []
        self.environment = {
            "GATELET_DATABASE_URL": f"sqlite://{self.database}",
            "GATELET_BOOTSTRAP_API_KEY": API_KEY,
            # There as they are by default, but out of reach.
            "GATELET_LIMITS__REQUESTS_PER_MINUTE": "100000000",
        }

    def start_gatelet(self):
        command = [self.gatelet, "serve", "--listen", f"127.0.0.1:{GATELET_PORT}", "--log", "warn"]
        return self.start(command, "gatelet", GATELET_PORT)

    def start_bare(self, port, arguments):
        url = self.environment["GATELET_DATABASE_URL"]
        command = [self.bare, "--listen", f"127.0.0.1:{port}", "--database", url, *arguments]
        return self.start(command, f"bare-{port}", port)

    def start(self, command, name, port):
        server = Server(command, [name], self.directory, self.environment)
        self.running.append(server)
        server.wait_for(port)
        return server

    def stop(self):
        """Stops all that run."""
        while self.running:
            self.running.pop().stop()


def ask(method, path, body=None, headers=None):
    """What Gatelet answers, which must be a success."""
    connection = http.client.HTTPConnection("127.0.0.1", GATELET_PORT)
    headers = headers or key_headers()
    body = None if body is None else json.dumps(body)
    connection.request(method, path, body, headers | {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status not in (200, 201):
        raise SystemExit(f"{method} {path}: {answer.status} {text.decode()}")
    return text


def key_headers():
    return {"authorization": f"Bearer {API_KEY}"}


def token_headers(agent):
    """Those of a page in a browser that holds a client token for the agent."""
    policy = [{"type": "agent", "id": agent, "access": ["read_agent", "read_messages", "write_messages"]}]
    expires_at = (datetime.now(timezone.utc) + LIFETIME).isoformat()
    body = {"policy": policy, "hostname": ORIGIN, "expires_at": expires_at}
    token = json.loads(ask("POST", "/v1/client-side-access-tokens", body))["token"]
    return {"authorization": f"Bearer {token}", "origin": ORIGIN}


def make_agent(turns):
    body = {"model": "openai/gpt-4o-mini", "embedding": "openai/text-embedding-3-small", "memory_blocks": BLOCKS}
    agent = json.loads(ask("POST", "/v1/agents/", body))["id"]
    for _ in range(turns):
        ask("POST", f"/v1/agents/{agent}/messages", {"messages": [{"role": "user", "content": MESSAGE}]})
    return agent


def load(port, path, headers, seconds, connections=CONNECTIONS, script=None):
    """Requests per second."""
    command = ["taskset", "-c", GENERATOR_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    if script:
        command += ["-s", script]
    done = subprocess.run([*map(str, command), f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True)
    found = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    if done.returncode != 0 or not found or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"{path}: {done.stdout}{done.stderr}")
    return float(found[1])


def cpu_time(server):
    """The seconds for which the threads of a server, which it keeps, had a CPU."""
    threads = Path(f"/proc/{server.process.pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def ratios(bench, options, tables):
    """Requests per second through Gatelet, against the handler that guards nothing."""
    gatelet = bench.start_gatelet()
    agent = make_agent(TURNS)
    messages, retrieve = f"/v1/agents/{agent}/messages", f"/v1/agents/{agent}"
    cases = [
        ("messages, 20 of them", f"{messages}?limit=20", ("list", "--limit", 20)),
        ("messages, 100 of them", messages, ("list", "--limit", 100)),
        ("the agent", retrieve, ("retrieve",)),
        (
            "the agent, blocks and tools",
            f"{retrieve}?include=agent.blocks&include=agent.tools",
            ("retrieve-with-blocks-and-tools",),
        ),
    ]
    holders = {"API key": key_headers(), "client token": token_headers(agent)}
    for title, path, work in cases:
        for holder, headers in holders.items():
            answer = bench.directory / "answer"
            answer.write_bytes(ask("GET", path, headers=headers))
            arguments = ["--operation", *work, "--agent", agent, "--answer", answer]
            others = [bench.start_bare(port, arguments) for port in (BARE_PORT, OTHER_BARE_PORT)]
            measured = {"gatelet": [], "bare": [], "bare again": []}
            ports = dict(zip(measured, (GATELET_PORT, BARE_PORT, OTHER_BARE_PORT)))
            servers = dict(zip(measured, (gatelet, *others)))
            for port in ports.values():
                load(port, path, headers, WARM_UP)
            for _ in range(options.rounds):
                for name, port in ports.items():
                    begun = cpu_time(servers[name])
                    speed = load(port, path, headers, options.seconds)
                    used = cpu_time(servers[name]) - begun
                    measured[name].append({"speed": speed, "cost": used / (speed * options.seconds) * 1e6})
            for server in others:
                bench.running.remove(server)
                server.stop()
            tables.ratio(title, holder, len(answer.read_bytes()), measured)


SIZES = [1_000, 10_000, 100_000]


def pages(bench, options, tables):
    """What one page costs, by the number of messages in the agent."""
    bench.start_gatelet()
    agents = {size: make_agent(1) for size in SIZES}
    bench.stop()
    ids = {size: fill(bench.database, agent, size) for size, agent in agents.items()}
    bench.start_gatelet()
    cases = [("newest", ""), ("oldest", "&order=asc")]
    for order in ("desc", "asc"):
        for cursor in ("before", "after"):
            cases.append((f"{cursor} the middle, {order}", f"&order={order}&{cursor}=MIDDLE"))
    for title, query in cases:
        costs = {size: [] for size in SIZES}
        for _ in range(options.rounds):
            for size, agent in agents.items():
                path = f"/v1/agents/{agent}/messages?limit=20{query.replace('MIDDLE', ids[size][size // 2])}"
                costs[size].append(1e6 / load(GATELET_PORT, path, key_headers(), options.seconds, connections=1))
        tables.page(title, costs)


def fill(database, agent, size):
    """Repeats what was said to an agent until it has so many messages; returns their ids, oldest first."""
    with sqlite3.connect(database) as connection:
        columns = "project, conversation_id, run_id, body"
        said = connection.execute(f"SELECT id, {columns} FROM messages WHERE agent_id = ? ORDER BY seq", (agent,)).fetchall()
        rows = []
        for number in range(size - len(said)):
            old, project, conversation, run, body = said[1 + number % (len(said) - 1)]
            new = f"message-{uuid.uuid4()}"
            rows.append((new, project, agent, conversation, run, body.replace(old, new)))
        insert = "INSERT INTO messages (id, project, agent_id, conversation_id, run_id, body) VALUES (?, ?, ?, ?, ?, ?)"
        connection.executemany(insert, rows)
    connection.close()
    return [row[0] for row in said] + [row[0] for row in rows]


STARTS = 20
IDLE_SECONDS = 2


def process(bench, options, tables):
    """The program itself: its start, its memory, its size."""
    firsts = []
    for number in range(STARTS):
        fresh = Bench(bench.gatelet, bench.bare, bench.directory / f"fresh-{number}")
        fresh.directory.mkdir()
        firsts.append(start_to_answer(fresh))
    again = [start_to_answer(fresh) for _ in range(STARTS)]
    server = bench.start_gatelet()
    time.sleep(IDLE_SECONDS)
    idle, _ = server.memory()
    agent = make_agent(TURNS)
    load(GATELET_PORT, f"/v1/agents/{agent}/messages", key_headers(), 1)
    time.sleep(IDLE_SECONDS)
    used, most = server.memory()
    size = Path(bench.gatelet).stat().st_size / 1e6
    tables.process(firsts, again, idle, used, most, size)


def start_to_answer(bench):
    """Milliseconds from the start of the process to an answer that needed the guard and the store."""
    command = [bench.gatelet, "serve", "--listen", f"127.0.0.1:{GATELET_PORT}", "--log", "warn"]
    begun = time.perf_counter()
    server = Server(command, ["gatelet"], bench.directory, bench.environment)
    while True:
        try:
            ask("GET", "/v1/agents/")
            break
        except ConnectionError:
            if time.perf_counter() - begun > 30:
                raise
    took = (time.perf_counter() - begun) * 1e3
    server.stop()
    return took


AGENTS = 32


def sending(bench, options, tables):
    """Turns per second: to one agent, whose turns follow each other, and to many."""
    bench.start_gatelet()
    body = json.dumps({"messages": [{"role": "user", "content": MESSAGE}]})
    # An agent streams one turn at a time, and wrk does not bind agents to connections.
    for count, title, end in [(1, "at once", ""), (1, "streamed", "/stream"), (AGENTS, "at once", "")]:
        agents = [make_agent(0) for _ in range(count)]
        script = bench.directory / "send.lua"
        paths = ", ".join(f'"/v1/agents/{agent}/messages{end}"' for agent in agents)
        script.write_text(
            f"local paths = {{{paths}}}\nlocal number = 0\n"
            f"function request()\n  number = number % #paths + 1\n"
            f"  return wrk.format('POST', paths[number], nil, [[{body}]])\nend\n"
        )
        headers = key_headers() | {"content-type": "application/json"}
        speeds = [
            load(GATELET_PORT, "/", headers, options.seconds, count, script) for _ in range(options.rounds)
        ]
        tables.sending(count, title, median(speeds))
