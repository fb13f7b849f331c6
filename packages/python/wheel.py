#!/usr/bin/env python3
"""Packs the program and this package as a wheel; also the build backend of pyproject.toml.

    packages/python/wheel.py BINARY FOLDER        prints the path of the wheel
"""

import base64
import hashlib
import os
import re
import sys
import time
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from platforms import platform_tags  # noqa: E402


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """PEP 517: `pip install packages/python` packs the release build of this checkout."""
    binary = os.environ.get("GATELET_BINARY", HERE.parents[1] / "target/release/gatelet")
    return pack(Path(binary), Path(wheel_directory)).name


def pack(binary, folder):
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    stem = f"{project['name']}-{project['version']}"
    tags = platform_tags(binary.read_bytes())
    info = f"{stem}.dist-info"
    contents = {f"gatelet/{file.name}": file for file in sorted((HERE / "gatelet").iterdir()) if file.is_file()}
    contents |= {
        f"{stem}.data/scripts/gatelet": binary,
        f"{info}/METADATA": metadata(project),
        f"{info}/WHEEL": wheel(tags),
        f"{info}/entry_points.txt": entry_points(project["entry-points"]),
        f"{info}/licenses/LICENSE": HERE.parents[1] / "LICENSE",
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-py3-none-{'.'.join(tags)}.whl"
    record = ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in contents.items():
            content = content.read_bytes() if isinstance(content, Path) else content.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(content)}\n"
            add(archive, name, content)
        add(archive, f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode())
    return path


def add(archive, name, content):
    """The same bytes make the same wheel: one time for all files, which is the release's if it says so."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", 315532800))
    entry = zipfile.ZipInfo(name, time.gmtime(seconds)[:6])
    mode = 0o755 if ".data/scripts/" in name else 0o644
    entry.external_attr, entry.compress_type = (0o100000 | mode) << 16, zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


def metadata(project):
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        "License-File: LICENSE",
        f"Requires-Python: {project['requires-python']}",
        f"Keywords: {','.join(project['keywords'])}",
        *(f"Classifier: {classifier}" for classifier in project["classifiers"]),
        *(f"Project-URL: {label}, {url}" for label, url in project["urls"].items()),
    ]
    for extra, requirements in project["optional-dependencies"].items():
        lines += [f"Provides-Extra: {extra}"]
        lines += [f"Requires-Dist: {requirement}; extra == '{extra}'" for requirement in requirements]
    readme = (HERE / project["readme"]).read_text()
    # Comments in it are marks for the tests.
    readme = re.sub(r"<!--.*?-->\n?", "", readme, flags=re.DOTALL)
    return "\n".join([*lines, "Description-Content-Type: text/markdown", "", readme])


def wheel(tags):
    lines = ["Wheel-Version: 1.0", "Generator: gatelet", "Root-Is-Purelib: false"]
    return "\n".join([*lines, *(f"Tag: py3-none-{tag}" for tag in tags), ""])


def entry_points(groups):
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items()), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    binary, folder = sys.argv[1:]
    print(pack(Path(binary), Path(folder)))
