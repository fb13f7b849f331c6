"""Installs Letta from its source distribution, which carries what the wheel lacks: the lock file and the migrations."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# Everything about Letta lies here, with the logs of the last run.
FOLDER = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "letta"
SOURCE = FOLDER / "source"
BINARIES = FOLDER / "venv/bin"


def install_letta():
    """Downloads and installs, unless just this version is installed already."""
    pin = (HERE / "letta.txt").read_text()
    done_for = FOLDER / "installed-for"
    if done_for.exists() and done_for.read_text() == pin:
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    downloads = FOLDER / "downloads"
    downloads.mkdir(parents=True)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                "--no-binary", "letta", "--require-hashes", "--requirement", HERE / "letta.txt", "--dest", downloads]
    subprocess.run(download, check=True)
    (archive,) = downloads.glob("letta-*.tar.gz")
    shutil.unpack_archive(archive, downloads)
    (downloads / archive.name.removesuffix(".tar.gz")).rename(SOURCE)
    # psycopg2 would need a compiler and libpq, and Letta does not import it.
    sync = [Path(sys.executable).parent / "uv", "sync", "--quiet", "--frozen", "--no-dev", "--extra=postgres",
            "--extra=redis", "--extra=server", "--no-install-package=psycopg2", "--no-cache", "--no-progress",
            f"--python={sys.executable}"]
    environment = os.environ | {"UV_PROJECT_ENVIRONMENT": str(FOLDER / "venv"), "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run(sync, check=True, cwd=SOURCE, env=environment)
    shutil.rmtree(downloads)
    done_for.write_text(pin)
