"""The README of the package, as its readers use it: every file and every command of it, in an empty folder."""

import os
import re
import sys

import pytest
from conftest import ROOT

README = (ROOT / "packages/python/README.md").read_text()
BLOCKS = re.findall(r"(?:^<!-- ([^\n]+) -->\n)?^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
FILES = {use.removeprefix("file: "): text for use, _, text in BLOCKS if use.startswith("file: ")}
COMMANDS = [text.strip() for use, _, text in BLOCKS if use == "run"]


def test_every_block_of_code_is_a_file_or_a_command():
    # A container needs an engine; test_testcontainers.py has one that it makes up.
    left = [text for use, language, text in BLOCKS if not use and language != "text" and "testcontainers" not in text]
    assert left == [] and len(FILES) > len(COMMANDS) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_what_the_page_says(run, tmp_path, command):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    output = run("bash", "-euc", command, env={"PATH": path, "CI": "1"})
    assert re.search(r"\b[1-9] passed", output) if "pytest" in command else "201" in output, output
