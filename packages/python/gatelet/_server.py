"""Servers: one that is started, or one that runs anyway."""

import json
import os
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import IO, Self, Unpack

from ._binary import find_gatelet_bin
from ._errors import GateletError
from ._http import Connection, duration
from ._namespace import Namespace
from ._seed import read_seed
from ._types import Creation, Json, Seed, Token

# How long a server may take to start, and to stop, in seconds.
START, STOP = 30, 15


class Server:
    """A Gatelet with the control API. As a context manager, one that was started is stopped at the end."""

    def __init__(self, url: str, key: str, *, process: "_Process | None" = None) -> None:
        self.connection = Connection(url, key)
        self._process = process
        about = self.connection.control("GET", "")
        self.version: str = about["version"]
        self.features: frozenset[str] = frozenset(about["features"])
        """The parts of the control API that it has."""
        self.limits: dict[str, int] = about["limits"]
        seeded = process.banner if process else {}
        self.refs: dict[str, str] = seeded.get("refs", {})
        """Ids by the refs of the seed that it was started with, in the namespace `default`."""
        self.tokens = {ref: Token(token["token"], token["id"]) for ref, token in seeded.get("tokens", {}).items()}
        """The client tokens of that seed."""

    @property
    def base_url(self) -> str:
        """What SDKs take as their base URL."""
        return self.connection.url

    @property
    def api_key(self) -> str:
        """Its API key, which may do everything."""
        return self.connection.key

    @property
    def env(self) -> dict[str, str]:
        """The environment that `gatelet run` gives to a command."""
        return {
            "LETTA_BASE_URL": self.base_url,
            "LETTA_API_KEY": self.api_key,
            "GATELET_URL": self.base_url,
            "GATELET_KEY": self.api_key,
        }

    @property
    def log(self) -> list[str]:
        """The last lines of its log, if it was started here."""
        return list(self._process.log) if self._process else []

    def namespace(
        self, name: str | None = None, *, seed: Seed | None = None, **creation: Unpack[Creation]
    ) -> Namespace:
        """Creates a namespace."""
        for feature in ("replies", "faults"):
            if feature in creation and feature not in self.features:
                raise GateletError(f"Gatelet {self.version} at {self.base_url} has no {feature}: start a newer one.")
        body: Json = dict(creation)
        if name is not None:
            body["name"] = name
        if seed is not None:
            body["seed"] = read_seed(seed)
        if "idle_ttl" in creation:
            body["idle_ttl"] = duration(creation["idle_ttl"])
        return Namespace(self, self.connection.control("POST", "/ns", body))

    def stop(self) -> None:
        """Stops it, if it was started here."""
        if self._process:
            self._process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Gatelet {self.version} at {self.base_url}>"


def connect_gatelet(url: str | None = None, key: str | None = None) -> Server:
    """A server that runs anyway: `GATELET_URL` and `GATELET_KEY`, as `gatelet run` sets them, unless others are given."""
    url, key = url or os.environ.get("GATELET_URL"), key or os.environ.get("GATELET_KEY")
    if not url or not key:
        missing = "GATELET_KEY" if url else "GATELET_URL"
        raise GateletError(f"{missing} is not set: run the command by `gatelet run -- COMMAND`, or set it.")
    return Server(url, key)


def start_gatelet(
    *,
    seed: str | os.PathLike[str] | None = None,
    script: str | os.PathLike[str] | None = None,
    args: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
    binary: str | os.PathLike[str] | None = None,
) -> Server:
    """Starts a server in memory on a free port. It ends with this process, at the latest.

    `args` are more arguments of `gatelet serve`; `env` are settings of its own. The GATELET_ and LETTA_ variables of this
    process do not reach it.
    """
    command = [os.fspath(binary or find_gatelet_bin()), "serve", "--ephemeral", "--control", "--listen", "127.0.0.1:0"]
    command += ["--log-format", "json", "--until-stdin-closes"]
    if seed is not None:
        command += ["--seed", os.fspath(seed)]
    if script is not None:
        command += ["--script", os.fspath(script)]
    process = _Process([*command, *args], env or {})
    try:
        return Server(process.banner["url"], process.banner["api_key"], process=process)
    except BaseException:
        process.stop()
        raise


class _Process:
    """The program. Its output is read until it ends, since it would wait once a pipe is full."""

    def __init__(self, command: list[str], env: Mapping[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GATELET_", "LETTA_"))}
        try:
            self._process = subprocess.Popen(
                command,
                env=inherited | dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Ctrl-C in a terminal ends the tests, which still need it while they clean up.
                process_group=0,
            )
        except OSError as error:
            raise GateletError(f"{command[0]} cannot be started: {error.strerror}.") from error
        assert self._process.stdout and self._process.stderr
        self.log: deque[str] = deque(maxlen=200)
        self._first_line = ""
        self._has_first_line = threading.Event()
        self._readers = [
            threading.Thread(target=self._read_output, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_log, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        try:
            self.banner = self._wait_for_banner()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it as its parent's end would, and by force if that does not help."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join()

    def _wait_for_banner(self) -> Json:
        if not self._has_first_line.wait(START):
            raise GateletError(f"Gatelet did not start within {START} s.{self._log_text()}")
        try:
            banner: Json = json.loads(self._first_line)
        except ValueError:
            self.stop()
            raise GateletError(f"Gatelet ended before it was ready.{self._log_text()}") from None
        return banner

    def _log_text(self) -> str:
        return "\n" + "\n".join(self.log) if self.log else ""

    def _read_output(self, pipe: IO[bytes]) -> None:
        self._first_line = pipe.readline().decode(errors="replace")
        self._has_first_line.set()
        self._read_log(pipe)

    def _read_log(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self.log.append(line.decode(errors="replace").rstrip())
