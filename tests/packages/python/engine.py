"""A stand-in for a Docker engine: of its API, as much as Testcontainers needs, and `gatelet` as its only image."""

import io
import json
import os
import signal
import subprocess
import tarfile
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from gatelet import find_gatelet_bin

ID = "0" * 64


class Engine:
    """Starts the program with the environment and the files of the one container that it is asked for."""

    def __init__(self):
        self.created = None
        self.removed = False
        self.folder = tempfile.TemporaryDirectory()
        self.process = None
        self.port = None
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                engine.respond(self, "GET")

            def do_POST(self):
                engine.respond(self, "POST")

            def do_PUT(self):
                engine.respond(self, "PUT")

            def do_DELETE(self):
                engine.respond(self, "DELETE")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"tcp://localhost:{self.server.server_port}"

    def respond(self, handler, method):
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        path = handler.path.split("?")[0].removeprefix("/v1.44")
        status, answer = self.handle(method, path, body)
        content = b"" if answer is None else json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def handle(self, method, path, body):
        match method, path:
            case "GET", "/version":
                return 200, {"Version": "27.0.0", "ApiVersion": "1.44"}
            case "GET", "/info":
                return 200, {"ServerVersion": "27.0.0", "OperatingSystem": "made up", "MemTotal": 0}
            case "GET", path if path.startswith("/images/"):
                return 200, {"Id": f"sha256:{ID}"}
            case "POST", "/containers/create":
                self.created = json.loads(body)
                return 201, {"Id": ID, "Warnings": []}
            case "PUT", path if path.endswith("/archive"):
                tarfile.open(fileobj=io.BytesIO(body)).extractall(self.folder.name, filter=without_root)
                return 200, None
            case "POST", path if path.endswith("/start"):
                self.start()
                return 204, None
            case "GET", "/containers/json":
                return 200, [{"Id": ID, "Ports": [{"PrivatePort": 8283, "PublicPort": int(self.port)}]}]
            case "GET", path if path.startswith("/containers/"):
                return 200, self.container()
            case "DELETE", _:
                self.stop()
                self.removed = True
                return 204, None
        return 404, {"message": f"{method} {path} is not made up"}

    def start(self):
        variables = dict(each.split("=", 1) for each in self.created["Env"])
        for name in ("GATELET_SEED", "GATELET_SCRIPT"):
            if name in variables:
                variables[name] = self.folder.name + variables[name]
        command = [find_gatelet_bin(), "serve", "--log-format", "json"]
        self.process = subprocess.Popen(
            command,
            # As the image has it, but for the port.
            env={"PATH": os.environ["PATH"], "GATELET_LISTEN": "0.0.0.0:0", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.port = json.loads(self.process.stdout.readline())["url"].rsplit(":", 1)[1]

    def container(self):
        ports = {"8283/tcp": [{"HostIp": "127.0.0.1", "HostPort": self.port}]}
        state = {"Status": "running" if self.process else "created", "Running": bool(self.process)}
        image = self.created["Image"]
        return {"Id": ID, "Name": "/it", "Image": image, "State": state, "NetworkSettings": {"Ports": ports}, "Config": {}}

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.communicate()
            self.process = None

    def close(self):
        self.stop()
        self.server.shutdown()
        self.server.server_close()
        self.folder.cleanup()


def without_root(member, folder):
    return tarfile.data_filter(member.replace(name=str(Path(member.name)).lstrip("/")), folder)
