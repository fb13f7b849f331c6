"""What the calls of this package raise."""

from typing import Any


class GateletError(Exception):
    """Gatelet refused a call, or cannot be reached. The text says what to do."""

    def __init__(self, message: str, *, status: int | None = None, body: Any = None) -> None:
        fields = body if isinstance(body, dict) else {}
        self.status = status
        """The HTTP status, or None without a response."""
        self.code: str | None = fields.get("code")
        """The code of the error, from https://github.com/gatelet/gatelet/blob/main/docs/errors.md."""
        self.at: str | None = fields.get("at")
        """Where in the body the mistake is: a JSON pointer, or a line."""
        self.body = body
        """The body of the response."""
        super().__init__(message)


class VerificationError(GateletError, AssertionError):
    """The journal does not show what `verify` expects, or `wait_for` waited in vain. The text is the whole report."""
