"""The wheel installs offline, and the program is found wherever installers put it."""

import os
import sys
import tomllib
import zipfile
from importlib import metadata

import pytest
from conftest import DIST, ROOT

VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


def test_a_fresh_environment_without_a_network_has_the_program(run, tmp_path):
    run(sys.executable, "-m", "venv", "fresh")
    python = tmp_path / "fresh/bin/python"
    run(python, "-m", "pip", "install", "--no-index", "--find-links", DIST, "gatelet")
    assert run("fresh/bin/gatelet", "--version") == f"gatelet {VERSION}\n"
    assert run(python, "-m", "gatelet", "--version") == f"gatelet {VERSION}\n"
    found = run(python, "-c", "import gatelet; print(gatelet.find_gatelet_bin())")
    assert found == f"{tmp_path}/fresh/bin/gatelet\n"


@pytest.mark.parametrize("where", ["--target", "--prefix"])
def test_the_program_is_found_beside_the_package(run, tmp_path, where):
    pip = ["-m", "pip", "install", "--quiet", "--no-index", "--find-links", DIST, "--no-deps", "--ignore-installed"]
    run(sys.executable, *pip, where, "there", "gatelet")
    packages = next((tmp_path / "there").rglob("gatelet/__init__.py")).parents[1]
    # Neither the environment of this test nor its user's home has another one.
    script = f"import sys; sys.path.insert(0, {str(packages)!r}); import gatelet; print(gatelet.find_gatelet_bin())"
    base = run(sys.executable, "-c", "import sys; print(sys._base_executable)").strip()
    assert run(base, "-I", "-c", script) == f"{tmp_path}/there/bin/gatelet\n"


def test_a_missing_program_is_a_sentence(run, tmp_path):
    package = tmp_path / "packages/gatelet"
    package.mkdir(parents=True)
    for file in (ROOT / "packages/python/gatelet").glob("*.py"):
        (package / file.name).write_text(file.read_text())
    script = "import sys; sys.path.insert(0, 'packages'); import gatelet; gatelet.start_gatelet()"
    base = run(sys.executable, "-c", "import sys; print(sys._base_executable)").strip()
    output = run(base, "-I", "-c", script, expect=1, env={"HOME": str(tmp_path)})
    assert "pip install --force-reinstall gatelet" in output and "GATELET_BINARY" in output
    output = run(sys.executable, "-m", "gatelet", expect=1, env={"GATELET_BINARY": "/nowhere/gatelet"})
    assert "GATELET_BINARY is /nowhere/gatelet, which is not a file." in output


def test_the_wheel_says_what_it_is(run):
    about = metadata.metadata("gatelet")
    assert about["Version"] == VERSION
    assert {point.name for point in metadata.entry_points(group="pytest11")} >= {"gatelet"}
    assert all(not requirement for requirement in metadata.requires("gatelet") if "extra ==" not in requirement)
    assert "<!--" not in about.get_payload()
    [wheel] = DIST.glob(f"gatelet-{VERSION}-*.whl")
    assert "PASSED" in run(sys.executable, "-m", "twine", "check", "--strict", wheel)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {"gatelet/py.typed", f"gatelet-{VERSION}.dist-info/licenses/LICENSE"} <= names
        assert not [name for name in names if "__pycache__" in name]


def test_the_same_program_makes_the_same_wheel(run, tmp_path):
    pack = [sys.executable, ROOT / "packages/python/wheel.py", os.path.join(sys.prefix, "bin/gatelet")]
    again = tmp_path / run(*pack, "again").strip()
    [wheel] = DIST.glob(f"gatelet-{VERSION}-*.whl")
    assert wheel.name == again.name and wheel.read_bytes() == again.read_bytes()


def test_the_package_is_typed(run):
    run(sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "gatelet", cwd=ROOT / "packages/python")


def test_the_plugin_loads_nothing_until_a_fixture_is_used(run, tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n    assert not {name for name in sys.modules if name.startswith('gatelet.')} - "
        "{'gatelet.pytest_plugin'}\n"
    )
    run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_it.py")
