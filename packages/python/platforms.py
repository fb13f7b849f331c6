"""Which machines a program runs on, as the platform tags of wheels say it, by what the file says about itself."""

import re
import struct

LINUX = {0x3E: "x86_64", 0xB7: "aarch64"}
MACOS = {0x01000007: "x86_64", 0x0100000C: "arm64"}

PT_INTERP = 3
SHT_GNU_VERNEED = 0x6FFFFFFE
LC_VERSION_MIN_MACOSX, LC_BUILD_VERSION = 0x24, 0x32


def platform_tags(program):
    """The tags for the bytes of a program: one that is static runs with every C library."""
    if program[:5] == b"\x7fELF\x02":
        machine = _machine(LINUX, struct.unpack_from("<H", program, 18)[0])
        if not _has_interpreter(program):
            return [f"manylinux_2_17_{machine}", f"manylinux2014_{machine}", f"musllinux_1_1_{machine}"]
        major, minor = max(_glibc_versions(program))
        return [f"manylinux_{major}_{minor}_{machine}"]
    if program[:4] == b"\xcf\xfa\xed\xfe":
        machine = _machine(MACOS, struct.unpack_from("<I", program, 4)[0])
        major, minor = _least_macos(program)
        return [f"macosx_{major}_{minor}_{machine}"]
    raise SystemExit("The program is neither one for Linux nor one for macOS, of 64 bits each.")


def _machine(names, code):
    if code not in names:
        raise SystemExit(f"No package is made for a machine of the type {code:#x}.")
    return names[code]


def _has_interpreter(program):
    """Whether a dynamic loader is asked for, and so a C library of the machine."""
    (offset,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    return any(struct.unpack_from("<I", program, offset + size * n)[0] == PT_INTERP for n in range(count))


def _glibc_versions(program):
    """The versions of glibc that its symbols need."""
    (offset,) = struct.unpack_from("<Q", program, 40)
    size, count = struct.unpack_from("<HH", program, 58)
    sections = [struct.unpack_from("<IIQQQQII", program, offset + size * n) for n in range(count)]
    for _, kind, _, _, start, _, link, entries in sections:
        if kind != SHT_GNU_VERNEED:
            continue
        strings = sections[link][4]
        for _ in range(entries):
            _, versions, _, first, following = struct.unpack_from("<HHIII", program, start)
            place = start + first
            for _ in range(versions):
                _, _, _, name, another = struct.unpack_from("<IHHII", program, place)
                text = program[strings + name : program.index(b"\0", strings + name)].decode()
                if version := re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", text):
                    yield int(version[1]), int(version[2])
                place += another
            start += following


def _least_macos(program):
    (count,) = struct.unpack_from("<I", program, 16)
    place = 32
    for _ in range(count):
        kind, size, first, second = struct.unpack_from("<IIII", program, place)
        if kind in (LC_BUILD_VERSION, LC_VERSION_MIN_MACOSX):
            least = second if kind == LC_BUILD_VERSION else first
            major, minor = least >> 16, least >> 8 & 0xFF
            # From 11 on, a tag names the major version alone.
            return (major, 0) if major > 10 else (major, minor)
        place += size
    raise SystemExit("The program does not say which macOS it needs.")
