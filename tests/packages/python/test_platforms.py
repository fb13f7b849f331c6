"""The tags of a wheel follow from the program itself."""

import struct
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "packages/python"))
from platforms import platform_tags  # noqa: E402

MACHINE = {"x86_64": 0x3E, "aarch64": 0xB7}


def elf(machine, interpreter, versions=()):
    """The parts of an ELF file that matter: a header, a program header, the versions that its symbols need."""
    strings = b"\0" + b"".join(version.encode() + b"\0" for version in versions)
    header, program, section = 64, 56, 64
    needs_at = header + program
    needs, name = b"", 1
    for n, version in enumerate(versions):
        needs += struct.pack("<IHHII", 0, 0, 2, name, 16 if n + 1 < len(versions) else 0)
        name += len(version) + 1
    needs = struct.pack("<HHIII", 1, len(versions), 1, 16, 0) + needs
    strings_at = needs_at + len(needs)
    sections_at = strings_at + len(strings)
    sections = struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, strings_at, len(strings), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 0, 0x6FFFFFFE, 0, 0, needs_at, len(needs), 0, 1, 4, 0)
    start = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 3, MACHINE[machine], 1, 0, header, sections_at)
    start += struct.pack("<IHHHHHH", 0, header, program, 1, section, 2, 0)
    kind = 3 if interpreter else 1
    return start + struct.pack("<IIQQQQQQ", kind, 4, 0, 0, 0, 0, 0, 1) + needs + strings + sections


def macho(machine, command, version):
    size = 24
    commands = struct.pack("<II", 0x19, 16) + bytes(8)
    values = (1, version) if command == 0x32 else (version, 0)
    commands += struct.pack("<IIII", command, size, *values) + bytes(size - 16)
    return struct.pack("<IIIIIIII", 0xFEEDFACF, machine, 0, 2, 2, len(commands), 0, 0) + commands


def test_a_static_program_runs_with_every_c_library():
    assert platform_tags(elf("x86_64", False)) == [
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
        "musllinux_1_1_x86_64",
    ]


def test_another_needs_the_newest_glibc_of_its_symbols():
    versions = ["GLIBC_2.2.5", "GLIBC_2.9", "GLIBC_2.34", "GCC_3.0", "GLIBC_2.17"]
    assert platform_tags(elf("aarch64", True, versions)) == ["manylinux_2_34_aarch64"]


@pytest.mark.parametrize(
    "machine, command, version, tag",
    [
        (0x0100000C, 0x32, 11 << 16, "macosx_11_0_arm64"),
        (0x0100000C, 0x32, 14 << 16 | 2 << 8, "macosx_14_0_arm64"),
        (0x01000007, 0x24, 10 << 16 | 12 << 8, "macosx_10_12_x86_64"),
    ],
)
def test_a_program_for_macos_says_which_it_needs(machine, command, version, tag):
    assert platform_tags(macho(machine, command, version)) == [tag]


def test_other_files_are_refused():
    for file in (b"#!/bin/sh\n", b"MZ" + bytes(100), elf("x86_64", True).replace(b"\x3e\x00", b"\x28\x00", 1)):
        with pytest.raises(SystemExit):
            platform_tags(file)
