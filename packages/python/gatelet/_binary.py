"""Finds the program that the wheel installed."""

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path


def find_gatelet_bin() -> Path:
    """The path of the program `gatelet`: `GATELET_BINARY`, or else what this package was installed with.

    Raises FileNotFoundError, with a sentence that says what to do, if there is none.
    """
    if given := os.environ.get("GATELET_BINARY"):
        if not Path(given).is_file():
            raise FileNotFoundError(f"GATELET_BINARY is {given}, which is not a file.")
        return Path(given)
    candidates = [folder / "gatelet" for folder in dict.fromkeys(_folders())]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    searched = ", ".join(str(candidate) for candidate in candidates)
    raise FileNotFoundError(
        f"The program gatelet is at none of {searched}. Install it again with "
        "`pip install --force-reinstall gatelet`, or set GATELET_BINARY to a program that you have."
    )


def _folders() -> Iterator[Path]:
    """Where installers put programs: of this environment, of this user, and beside the package."""
    yield Path(sysconfig.get_path("scripts"))
    # An environment without its own copy of the package, as with `--system-site-packages`.
    yield Path(sysconfig.get_path("scripts", vars={"base": sys.base_prefix}))
    yield Path(sysconfig.get_path("scripts", scheme=sysconfig.get_preferred_scheme("user")))
    package = Path(__file__).resolve().parent
    # `pip install --target FOLDER`.
    yield package.parent / "bin"
    # `pip install --prefix FOLDER`: FOLDER/lib/python3.x/site-packages/gatelet.
    if len(package.parents) > 3:
        yield package.parents[3] / "bin"
