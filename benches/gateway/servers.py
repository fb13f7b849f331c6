"""The servers to compare, pinned to the first core; and the tokens with which they are asked."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import sqlite3
import subprocess
import time
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).parent
SERVER_CORE, GENERATOR_CORE = "0", "1"
UPSTREAM_PORT = 18100
UPSTREAM = f"127.0.0.1:{UPSTREAM_PORT}"
ORIGIN = "https://app.example"
API_KEY = "sk-let-benchmark-of-the-gateway"
SECRET = "a-shared-secret-of-the-benchmark-of-32-bytes-or-more"
LIFETIME = timedelta(hours=12)

PORTS = {
    name: 18101 + number
    for number, name in enumerate(
        [
            "gatelet",
            "gatelet, logging",
            "bare",
            "bare again",
            "nginx",
            "nginx asking",
            "nginx nodding",
            "haproxy",
        ]
    )
}


class Direct:
    """No server at all: the fake Letta server is asked itself."""

    names = ["direct"]

    def pids(self):
        return []


class Server:
    """A process on the first core that listens on one or several ports."""

    def __init__(self, command, names, directory, environment=None):
        self.names = names
        self.log = open(directory / f"{names[0]}.log", "wb")
        self.process = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, *map(str, command)],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | (environment or {}),
            cwd=directory,
        )

    def wait(self):
        """Waits until all ports are listened on."""
        for name in self.names:
            self.wait_for(PORTS.get(name, UPSTREAM_PORT))

    def wait_for(self, port):
        deadline = time.monotonic() + 30
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.names[0]} does not start: {Path(self.log.name).read_text()}")
            try:
                http.client.HTTPConnection("127.0.0.1", port, timeout=5).connect()
                return
            except OSError:
                time.sleep(0.05)

    def pids(self):
        """The process and its children: nginx works in one."""
        own = self.process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]

    def memory(self):
        """Resident memory now and at its highest, in MiB."""
        figures = {"VmRSS": 0.0, "VmHWM": 0.0}
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in figures:
                    figures[name] += int(value.split()[0]) / 1024
        return figures["VmRSS"], figures["VmHWM"]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Bench:
    """Binaries, a directory for everything that is written, and what is started there."""

    def __init__(self, gatelet, programs, directory):
        self.gatelet, self.programs, self.directory = gatelet, programs, directory
        self.database = directory / "gatelet.db"
        self.running = []
        example = subprocess.run([gatelet, "config", "example"], check=True, capture_output=True, text=True).stdout
        self.environment = {
            "GATELET_DATABASE_URL": f"sqlite://{self.database}",
            "GATELET_BOOTSTRAP_API_KEY": API_KEY,
            "GATELET_UPSTREAM_API_KEY": "upstream-password",
            "GATELET_LOG_FORMAT": "json",
        }
        # The limits are there, as they are by default, but out of reach.
        for setting in ("requests_per_minute", "streams_per_token"):
            if f"{setting} =" in example:
                self.environment[f"GATELET_LIMITS__{setting.upper()}"] = "1000000"

    def start(self, *arguments):
        server = Server(*arguments)
        self.running.append(server)
        server.wait()
        return server

    def stop(self, *servers):
        """Stops these, or all that run."""
        for server in servers or list(self.running):
            server.stop()
            self.running.remove(server)

    def start_gatelet(self, name="gatelet", log="warn", **environment):
        listen = f"127.0.0.1:{PORTS[name]}"
        command = [self.gatelet, "serve", "--listen", listen, "--upstream", f"http://{UPSTREAM}", "--log", log]
        return self.start(command, [name], self.directory, self.environment | environment)

    def start_bare(self, name="bare"):
        listen = f"127.0.0.1:{PORTS[name]}"
        command = [self.programs, "proxy", "--listen", listen, "--upstream", UPSTREAM]
        return self.start(command, [name], self.directory)

    def start_upstream(self):
        """The fake Letta server alone; while measuring, it is part of the program that asks."""
        return self.start([self.programs, "upstream", "--listen", UPSTREAM], ["upstream"], self.directory)

    def start_nginx(self):
        names = ["nginx", "nginx asking", "nginx nodding"]
        plain, asking, nodding = (PORTS[name] for name in names)
        text = (HERE / "nginx.conf").read_text()
        text = text.format(
            directory=self.directory, upstream=UPSTREAM, plain=plain, asking=asking, nodding=nodding
        )
        path = self.directory / "nginx.conf"
        path.write_text(text)
        return self.start(["nginx", "-e", "stderr", "-c", path], names, self.directory)

    def start_haproxy(self):
        text = (HERE / "haproxy.cfg").read_text().format(port=PORTS["haproxy"], secret=SECRET, upstream=UPSTREAM)
        path = self.directory / "haproxy.cfg"
        path.write_text(text)
        return self.start(["haproxy", "-f", path], ["haproxy"], self.directory)

    def measure(self, program, *arguments, core=GENERATOR_CORE):
        """Runs a program of the bench and returns its figures."""
        command = ["taskset", "-c", core, self.programs, program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, command))}\n{done.stderr}")
        return json.loads(done.stdout)

    def revoke(self, count):
        """Writes revocations of tokens that nobody holds into the log of changes, as a running server would have."""
        expires_at = int((datetime.now() + LIFETIME).timestamp() * 1000)
        with sqlite3.connect(self.database) as database:
            (head,) = database.execute("SELECT seq FROM change_head").fetchone()
            rows = ((head + 1 + number, str(uuid.uuid4()), expires_at) for number in range(count))
            database.executemany("INSERT INTO changes VALUES (?, 'token_revoked', ?, ?)", rows)
            database.execute("UPDATE change_head SET seq = ?", (head + count,))
        database.close()

    def public_key(self):
        with sqlite3.connect(self.database) as database:
            (key,) = database.execute("SELECT public_key FROM signing_keys WHERE retired_at IS NULL").fetchone()
        database.close()
        return key.hex()


def mint(count, agents):
    """Client tokens by the API for so many agents in turn, as lines `AGENT TOKEN`."""
    names = [f"agent-{uuid.uuid4()}" for _ in range(agents)]
    connection = http.client.HTTPConnection("127.0.0.1", PORTS["gatelet"])
    headers = {"authorization": f"Bearer {API_KEY}", "content-type": "application/json"}
    expires_at = (datetime.now(timezone.utc) + LIFETIME).isoformat()
    lines = []
    for number in range(count):
        agent = names[number % agents]
        policy = [{"type": "agent", "id": agent, "access": ["read_messages", "write_messages"]}]
        body = json.dumps({"policy": policy, "hostname": ORIGIN, "expires_at": expires_at})
        connection.request("POST", "/v1/client-side-access-tokens", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 201:
            raise SystemExit(f"no token: {answer.status} {text.decode()}")
        lines.append(f"{agent} {json.loads(text)['token']}")
    connection.close()
    return lines


def json_web_tokens(lines):
    """For each client token a JWT for HAProxy that says the same."""

    def segment(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    header = segment(json.dumps({"typ": "JWT", "alg": "HS256"}).encode())
    expires_at = int((datetime.now() + LIFETIME).timestamp())
    made = []
    for line in lines:
        agent, _, token = line.partition(" ")
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        text = header + b"." + segment(json.dumps(claims | {"exp": expires_at}, separators=(",", ":")).encode())
        signature = segment(hmac.new(SECRET.encode(), text, hashlib.sha256).digest())
        made.append(f"{agent} {(text + b'.' + signature).decode()}")
    return made
