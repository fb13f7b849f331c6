"""Seeds, as the control API takes them."""

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ._types import Json, Seed

SUFFIXES = (".toml", ".json", ".af")


def read_seed(seed: Seed) -> Json:
    """A seed as one table of tables. Files and folders are read here; what they name by a path is refused by the server."""
    if isinstance(seed, Mapping):
        return dict(seed)
    if isinstance(seed, (str, os.PathLike)):
        return _read(Path(seed))
    whole: Json = {}
    for part in map(read_seed, seed):
        for name, value in part.items():
            both = isinstance(value, list) and isinstance(whole.get(name), list)
            whole[name] = [*whole[name], *value] if both else value
    return whole


def map_paths(seed: Seed, change: Callable[[str | os.PathLike[str]], Path]) -> Seed:
    """The same seed with other paths."""
    if isinstance(seed, (str, os.PathLike)):
        return change(seed)
    return seed if isinstance(seed, Mapping) else [map_paths(part, change) for part in seed]


def _read(path: Path) -> Json:
    if path.is_dir():
        # As `gatelet serve --seed` does: by their names, agent files last.
        files = [file for file in path.iterdir() if file.suffix in SUFFIXES]
        files.sort(key=lambda file: (file.suffix == ".af", file.name))
        return read_seed(files)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        return tomllib.loads(text)
    content: Any = json.loads(text)
    return {"agent": [{"ref": path.stem, "agent_file": content}]} if path.suffix == ".af" else content
