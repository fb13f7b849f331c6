"""The process that is ended, and the databases behind it."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from ledger import Violation

API_KEY = "sk-let-kill-loop-0123456789"
MASTER_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
PAGE = 500
# How often a process is started that ends by itself.
ATTEMPTS = 5


class Gone(Exception):
    """The process has ended, and nobody knows whether it did what was asked."""


class Server:
    """Gatelet on one database, one process after the other."""

    def __init__(self, binary, database, folder):
        self.binary, self.folder, self.process, self.port = binary, folder, None, None
        self.environment = {
            "GATELET_DATABASE_URL": database.url,
            "GATELET_MASTER_KEY": MASTER_KEY,
            "GATELET_BOOTSTRAP_API_KEY": API_KEY,
            "GATELET_TOKENS__MAX_LIFETIME": "30d",
            "GATELET_LOG": "warn",
        }

    def spawn(self):
        """Begins a process, and does not wait until it is up."""
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--listen", "127.0.0.1:0", "--log-format", "json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                cwd=self.folder,
            )

    def start(self):
        """Begins a process and waits until it is up. On a machine with much else to do the database may be too slow."""
        for _ in range(ATTEMPTS):
            self.spawn()
            banner = self.process.stdout.readline()
            if banner:
                self.port = int(json.loads(banner)["url"].rsplit(":", 1)[1])
                return
            self.kill()
        raise Violation(f"the server does not start: {(self.folder / 'server.log').read_text()[-2000:]}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def connect(self):
        return Connection(self.port)

    def check_agents(self, expected):
        """Checks that there is no agent but these."""
        connection, after, there = self.connect(), "", []
        while True:
            status, page = connection.request("GET", f"/v1/agents/?limit={PAGE}{after}")
            if status != 200:
                raise Violation(f"agents cannot be listed: {status} {page}")
            there += [agent["name"] for agent in page]
            if len(page) < PAGE:
                break
            after = f"&after={page[-1]['id']}"
        connection.close()
        if unknown := set(there) - expected:
            raise Violation(f"these agents were deleted, or never made: {sorted(unknown)}")
        if len(there) != len(set(there)):
            raise Violation("an agent is there twice")


class Connection:
    """A connection that tells an answer from none."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def request(self, method, path, body=None, headers=None):
        """Status and JSON of the answer."""
        headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"} | (headers or {})
        try:
            self.http.request(method, path, None if body is None else json.dumps(body), headers)
            response = self.http.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Gone(str(error)) from error
        return response.status, json.loads(text) if text else None

    def close(self):
        self.http.close()


class Sqlite:
    """A file."""

    def __init__(self, folder):
        self.url = f"sqlite://{folder}/gatelet.db"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Postgres:
    """A cluster of its own, which lives on while Gatelet is ended."""

    def __init__(self, folder):
        self.folder = folder / "postgres"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"postgres://gatelet@127.0.0.1:{self.port}/postgres"
        self.process = None

    def __enter__(self):
        binaries = self.binaries()
        self.folder.mkdir()
        # PostgreSQL refuses to run as root.
        user = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self.folder.parent.chmod(0o755)
            user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data = self.folder / "data"
        subprocess.run(
            [*user, binaries / "initdb", "--username=gatelet", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D", data],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )
        with open(self.folder / "postgres.log", "wb") as log:
            self.process = subprocess.Popen(
                [*user, binaries / "postgres", "-D", data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
                 "-c", f"unix_socket_directories={self.folder}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                if time.monotonic() > deadline:
                    raise SystemExit((self.folder / "postgres.log").read_text()) from None
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    @staticmethod
    def binaries():
        """Where the server programs are: on the path, or where Debian keeps them; the newest version wins."""
        if on_path := shutil.which("initdb"):
            return Path(on_path).parent
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not versions:
            raise SystemExit("PostgreSQL is not installed")
        return versions[-1].parent


ENGINES = {"sqlite": Sqlite, "postgres": Postgres}
