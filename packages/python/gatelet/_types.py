"""The shapes that go over the control API; https://github.com/gatelet/gatelet/blob/main/docs/control-api.md has them all."""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

Duration: TypeAlias = str | float | timedelta
"""`"90s"`, seconds, or a timedelta."""

Seed: TypeAlias = Mapping[str, Any] | str | os.PathLike[str] | Sequence["Seed"]
"""A seed; or the path of one in TOML or JSON, of an agent file, or of a folder of them; or several of all these."""

Json: TypeAlias = dict[str, Any]


class Token(NamedTuple):
    """A client token."""

    token: str
    """What a page sends as its bearer."""
    id: str
    """The id (`jti`) by which the journal names it."""

    def __str__(self) -> str:
        return self.token


class Creation(TypedDict, total=False):
    """How a namespace begins, besides its name and its seed."""

    ids: str
    clock: str | Mapping[str, Any]
    replies: Sequence[Mapping[str, Any]]
    faults: Sequence[Mapping[str, Any]]
    unmatched: Literal["echo", "refuse"]
    limits: Mapping[str, int]
    idle_ttl: Duration
    if_exists: Literal["fail", "reset", "keep"]
    api_key: str


class Filters(TypedDict, total=False):
    """Which entries of the journal are meant: those that meet all of these."""

    operation: str
    agent: str
    caller: Literal["client_token", "api_key", "none"]
    token: str
    origin: str
    status: int | str
    code: str
    outcome: Literal["admitted", "denied"]
    phase: Literal["received", "decided", "answering", "finished"]
    text: str


class Page(TypedDict):
    """A part of a journal."""

    entries: list[Json]
    next: str
    dropped: int
    timed_out: bool


class Clock(TypedDict):
    """The clock of a namespace."""

    now: str
    offset_ms: int
    frozen: bool
    timers: Literal["real", "virtual", "instant"]
    expiry: Literal["as_meant", "literal"]
    pending: list[Json]


class Advance(TypedDict):
    """What happened when a clock was advanced."""

    now: str
    fired: list[Json]
    settled: bool


class Finding(TypedDict):
    """Something that the client under test does wrong."""

    rule: str
    severity: Literal["info", "warn", "error"]
    sentence: str
    fix: str
    evidence: list[int]
    caller: Json
    docs: str
    allowed: str | None


class Verdicts(TypedDict):
    """What the journal says about the client under test."""

    findings: list[Finding]
    allowed: list[Json]
    coverage: Json


class Unused(TypedDict):
    """What a test prepared and did not use."""

    replies: list[str]
    faults: list[str]
    refs: list[str]
