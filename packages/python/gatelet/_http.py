"""Calls of the control API, and of Letta's API beside it, over HTTP."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from ._errors import GateletError, VerificationError
from ._types import Duration

# The longest wait that the control API takes is 60 s.
TIMEOUT = 90

# Gatelet is on this machine, or where tests say, whatever proxies the environment names.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Connection:
    """A server and the key for it."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self.key = key

    def control(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        """A call of the control API; `path` begins after `/_gatelet/v1`."""
        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        target = f"/_gatelet/v1{path}?{urlencode(given)}" if given else f"/_gatelet/v1{path}"
        return self.send(method, target, body, content_type=content_type, accept=accept)

    def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        """A request. The response's JSON, its bytes if it is something else, or None if it is empty."""
        headers = {"Authorization": f"Bearer {self.key}", "Accept": accept}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = body if isinstance(body, bytes) else json.dumps(body, default=_plain).encode()
        request = urllib.request.Request(self.url + target, data, headers, method=method)
        try:
            with _opener.open(request, timeout=TIMEOUT) as response:
                content: bytes = response.read()
                is_json = response.headers.get_content_type() == "application/json"
        except urllib.error.HTTPError as error:
            raise _refusal(f"{method} {target.partition('?')[0]}", error) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise GateletError(f"Gatelet cannot be reached at {self.url}: {reason}.") from error
        if not content:
            return None
        return json.loads(content) if is_json else content


def duration(value: Duration) -> str:
    """A duration as the control API takes it."""
    if isinstance(value, str):
        return value
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return f"{round(seconds * 1000)}ms"


def _refusal(call: str, error: urllib.error.HTTPError) -> GateletError:
    with error:
        text = error.read().decode(errors="replace")
    try:
        body = json.loads(text)
    except ValueError:
        return GateletError(f"{call}: {error.code}: {text or error.reason}", status=error.code)
    if not isinstance(body, dict):
        return GateletError(f"{call}: {error.code}: {text}", status=error.code, body=body)
    if body.get("code") == "verification_failed":
        return VerificationError(body.get("text") or body["message"], status=error.code, body=body)
    place = f" (at {body['at']})" if body.get("at") else ""
    sentence = body.get("message") or body.get("detail") or text
    return GateletError(f"{call}: {sentence}{place}", status=error.code, body=body)


def _plain(value: Any) -> str:
    """TOML has dates, JSON has not."""
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
