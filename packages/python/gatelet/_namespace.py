"""A namespace: a Gatelet of its own for one test."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

from ._errors import GateletError
from ._http import Connection, duration
from ._journal import Journal
from ._seed import read_seed
from ._types import Advance, Clock, Duration, Json, Seed, Token, Unused, Verdicts

if TYPE_CHECKING:
    from ._server import Server

SNAPSHOT = "application/vnd.gatelet.snapshot"


class Namespace:
    """A namespace of a server: its own agents, tokens, clock, replies, faults and journal.

    As a context manager it is deleted at the end.
    """

    def __init__(self, server: "Server", created: Json) -> None:
        self.server = server
        self.name: str = created["name"]
        self.api_key: str = created["api_key"]
        """Its API key, for a back end."""
        self.base_url = server.base_url
        """What SDKs take as their base URL."""
        self.refs: dict[str, str] = {}
        """Ids by the refs of the seed."""
        self.tokens: dict[str, Token] = {}
        """The client tokens of the seed, by ref."""
        self.journal = Journal(self)
        self._own = Connection(server.base_url, self.api_key)
        self._take(created)

    @property
    def env(self) -> dict[str, str]:
        """The environment by which the official SDKs, and programs that use this package, find this namespace."""
        return {
            "LETTA_BASE_URL": self.base_url,
            "LETTA_API_KEY": self.api_key,
            "GATELET_URL": self.base_url,
            "GATELET_KEY": self.api_key,
        }

    def describe(self) -> Json:
        """What is in it, its clock, its open streams, when it was last used."""
        described: Json = self.call("GET", "")
        return described

    # Tokens

    def token(
        self,
        agent: str,
        access: Sequence[str],
        *,
        hostname: str,
        expires_in: Duration | None = None,
    ) -> Token:
        """Issues a client token for an agent, named by its ref or its id, as a back end does for a page of `hostname`."""
        policy = [{"type": "agent", "id": self.refs.get(agent, agent), "access": list(access)}]
        body: Json = {"policy": policy, "hostname": hostname}
        if expires_in is not None:
            body["expires_at"] = self._expiry(expires_in)
        issued = self._own.send("POST", "/v1/client-side-access-tokens", body)
        return Token(issued["token"], _jti(issued["token"]))

    def expire(self, token: Token | str) -> None:
        """Lets a client token, given by its text or its id, expire now."""
        self.call("POST", f"/tokens/{_name_of(token)}/expire")

    def revoke(self, token: Token | str) -> None:
        """Revokes a client token, given by its text or its id."""
        self.call("POST", f"/tokens/{_name_of(token)}/revoke")

    # Replies and faults

    def reply(self, match: str | re.Pattern[str] | None = None, *steps: str | Mapping[str, Any], **definition: Any) -> str:
        """Adds a reply of the mock's agents, and returns its id.

        `match` is a part of the user's text, or a regular expression in the syntax that Python and Rust share. A step
        that is a text is what the assistant says. Everything else of a reply is given by name, such as `times=1`.
        """
        reply = dict(definition)
        if isinstance(match, re.Pattern):
            reply["user"] = ("(?i)" if match.flags & re.IGNORECASE else "") + match.pattern
        elif match is not None:
            reply["text"] = match
        if steps:
            reply["steps"] = [{"assistant": step} if isinstance(step, str) else dict(step) for step in steps]
        added: str = self.call("POST", "/replies", reply, needs="replies")["ids"][0]
        return added

    def replies(self) -> list[Json]:
        """All replies, with their hits."""
        replies: list[Json] = self.call("GET", "/replies", needs="replies")["replies"]
        return replies

    def delete_replies(self, id: str | None = None) -> None:
        """Deletes a reply, or all."""
        self.call("DELETE", f"/replies/{quote(id, safe='')}" if id else "/replies", needs="replies")

    def script(self, path: str | os.PathLike[str]) -> list[str]:
        """Replaces all replies by those of a file, in TOML or JSON."""
        content, kind = Path(path).read_bytes(), Path(path).suffix.removeprefix(".")
        answer = self.call("PUT", "/script", content, needs="replies", content_type=f"application/{kind}")
        ids: list[str] = answer["ids"]
        return ids

    def state(self, value: str | None = None) -> str:
        """The state of the replies' state machine, after setting it if one is given."""
        if value is not None:
            self.call("PUT", "/state", {"state": value}, needs="replies")
        state: str = self.call("GET", "/state", needs="replies")["state"]
        return state

    def fault(self, **definition: Any) -> list[str]:
        """Adds a fault, such as `where={"operation": "StreamMessage"}, do={"status": 503}`, or a `preset`."""
        ids: list[str] = self.call("POST", "/faults", definition, needs="faults")["ids"]
        return ids

    def faults(self) -> list[Json]:
        """All faults, with how often each fired."""
        faults: list[Json] = self.call("GET", "/faults", needs="faults")["faults"]
        return faults

    def delete_faults(self, id: str | None = None) -> None:
        """Deletes a fault, or all."""
        self.call("DELETE", f"/faults/{quote(id, safe='')}" if id else "/faults", needs="faults")

    def unused(self) -> Unused:
        """Replies never used, faults that never fired, refs of the seed never touched."""
        unused: Unused = self.call("GET", "/unused", needs="replies")
        return unused

    # Verdicts

    def verify(
        self,
        *expect: Mapping[str, Any],
        order: Literal["any", "in_order", "exactly"] | None = None,
        phase: Literal["received", "finished"] | None = None,
        after: str | None = None,
        within: Duration | None = None,
        nothing_else: bool | None = None,
    ) -> list[list[int]]:
        """Compares the journal with what is expected: the entries of each expectation, or VerificationError."""
        waiting = None if within is None else duration(within)
        options = {"order": order, "phase": phase, "after": after, "within": waiting, "nothing_else": nothing_else}
        body = {"expect": list(expect)} | {name: value for name, value in options.items() if value is not None}
        matched: list[list[int]] = self.call("POST", "/verify", body)["matched"]
        return matched

    def explain(self, **request: Any) -> Json:
        """What the guard would decide about a request, step by step, without sending it."""
        explained: Json = self.call("POST", "/explain", request)
        return explained

    def verdicts(self, min: Literal["info", "warn", "error"] | None = None) -> Verdicts:
        """What the client under test does wrong, and what its tokens need."""
        verdicts: Verdicts = self.call("GET", "/verdicts", query={"min": min}, needs="verdicts")
        return verdicts

    def allow(self, rule: str, reason: str) -> None:
        """Allows what a rule of the verdicts finds; the reason stays with the finding."""
        self.call("POST", "/verdicts/allow", {"rule": rule, "reason": reason}, needs="verdicts")

    # Time

    def clock(self, **changes: Any) -> Clock:
        """The clock, after setting `now`, `frozen`, `timers` or `expiry` if they are given."""
        clock: Clock = self.call("PUT", "/clock", changes) if changes else self.call("GET", "/clock")
        return clock

    def advance(self, by: Duration | None = None, *, to: str | None = None) -> Advance:
        """Moves the clock `by` a duration, or `to` an instant or `"next"`; what is due has run when it returns."""
        if (by is None) == (to is None):
            raise TypeError("advance takes either a duration or `to`")
        advance: Advance = self.call("POST", "/clock/advance", {"to": to} if by is None else {"by": duration(by)})
        return advance

    # State

    def seed(self, seed: Seed) -> Json:
        """Adds a seed; its refs and tokens are in `refs` and `tokens` then."""
        added: Json = self.call("PUT", "/seed", read_seed(seed))
        self._take(added)
        return added

    def reset(self, to: Literal["seed", "empty"] = "seed", *, keep: Sequence[str] = ()) -> Json:
        """Begins anew; `keep` may name `journal`, `replies` and `faults`. The tokens of the seed are new ones."""
        world: Json = self.call("POST", "/reset", {"to": to, "keep": list(keep)})
        self.refs, self.tokens = {}, {}
        self._take(world)
        return world

    def snapshot(self, name: str) -> Json:
        """Takes a snapshot, which replaces one of the same name."""
        snapshot: Json = self.call("PUT", f"/snapshots/{quote(name, safe='')}")
        return snapshot

    def restore(self, name: str) -> Json:
        """Returns to a snapshot. Its tokens are good again, those issued since are not."""
        world: Json = self.call("POST", f"/snapshots/{quote(name, safe='')}/restore")
        return world

    def export_snapshot(self, name: str) -> bytes:
        """A snapshot as bytes, without keys and tokens."""
        exported: bytes = self.call("GET", f"/snapshots/{quote(name, safe='')}", accept=SNAPSHOT)
        return exported

    def import_snapshot(self, name: str, exported: bytes) -> Json:
        """Adds a snapshot that was exported."""
        snapshot: Json = self.call("PUT", f"/snapshots/{quote(name, safe='')}", exported, content_type=SNAPSHOT)
        return snapshot

    def fork(self, *, name: str | None = None, snapshot: str | None = None) -> "Namespace":
        """A copy of it, or of a snapshot, as a new namespace without tokens."""
        options = {"name": name, "snapshot": snapshot}
        body = {field: value for field, value in options.items() if value is not None}
        return Namespace(self.server, self.call("POST", "/fork", body))

    def delete(self) -> None:
        """Ends it, with its streams and credentials."""
        self.call("DELETE", "")

    def call(self, method: str, path: str, body: Any = None, *, needs: str | None = None, **options: Any) -> Any:
        """A call of the control API about this namespace; `path` begins after `/ns/{ns}`."""
        if needs and needs not in self.server.features:
            raise GateletError(f"Gatelet {self.server.version} at {self.base_url} has no {needs}: start a newer one.")
        return self.server.connection.control(method, f"/ns/{quote(self.name, safe='')}{path}", body, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.delete()

    def __repr__(self) -> str:
        return f"<Namespace {self.name} at {self.base_url}>"

    def _take(self, world: Json) -> None:
        self.refs |= world.get("refs", {})
        tokens = world.get("tokens", {})
        self.tokens |= {ref: Token(token["token"], token["id"]) for ref, token in tokens.items()}

    def _expiry(self, lifetime: Duration) -> str:
        """When a token of this lifetime expires, by the clock that `expires_at` is understood by."""
        if isinstance(lifetime, str):
            lifetime = _parsed(lifetime)
        if not isinstance(lifetime, timedelta):
            lifetime = timedelta(seconds=lifetime)
        clock = self.clock()
        is_literal = clock["expiry"] == "literal"
        now = datetime.fromisoformat(clock["now"]) if is_literal else datetime.now(timezone.utc)
        return (now + lifetime).isoformat()


def _name_of(token: Token | str) -> str:
    return quote(token.id if isinstance(token, Token) else token, safe="")


def _jti(token: str) -> str:
    """The id of a client token, which is in its claims."""
    import base64

    claims = token.split(".")[1]
    id: str = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]
    return id


def _parsed(text: str) -> timedelta:
    parts = re.findall(r"(\d+)\s*(ms|s|m|h|d)", text)
    units = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if "".join(amount + unit for amount, unit in parts) != text.replace(" ", ""):
        raise ValueError(f"{text!r} is not a duration such as 90s, 5m or 1h")
    return sum((timedelta(**{units[unit]: int(amount)}) for amount, unit in parts), timedelta())
