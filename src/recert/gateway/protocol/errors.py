"""What clients get where there is no reply: OpenAI-shaped errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_WORTH_WAITING_S: Final = 60


@dataclass
class HttpError(Exception):
    """
    A request that ends with an error body. `code` is machine-readable, `param` names the field.

    `retry_after_s` is when to ask again, where that helps; 0 for nothing said.
    """

    message: str
    status: int = 500
    kind: str = "server_error"
    param: str | None = None
    code: str = ""
    retry_after_s: int = 0
    further: tuple[tuple[bytes, bytes], ...] = ()
    """More headers, such as how much is left."""

    def __str__(self) -> str:
        return self.message

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that tell clients whether and when to ask again."""
        if self.retry_after_s:
            found = [(b"retry-after", str(self.retry_after_s).encode()), *self.further]
            return (
                found if self.retry_after_s <= _WORTH_WAITING_S else [*found, (b"x-should-retry", b"false")]
            )
        return [(b"x-should-retry", b"false"), *self.further] if self.status >= 500 else [*self.further]

    def value(self) -> dict[str, Any]:
        """Return the error object that OpenAI clients read."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code or None,
            }
        }


class BadRequest(HttpError):
    """A request that was not understood, or asks for what is not certified (400)."""

    def __init__(self, message: str, *, param: str | None = None, code: str, status: int = 400) -> None:
        super().__init__(message, status=status, kind="invalid_request_error", param=param, code=code)


_STOP_WORDS = {
    "aliases-unreadable": "the gateway's file of aliases cannot be read",
    "audit-unavailable": "the audit log cannot be written",
    "budget-unavailable": "what this key has used cannot be counted",
    "clock-behind": "the gateway's clock was set back",
    "engine-changed": "what the engine runs is no longer what was certified",
    "engine-down": "the engine that runs the model is down",
    "expired": "the certificate of this model has expired",
    "extra-file": "a file of this model is not a certified one",
    "file-differs": "a file of this model is not the certified one",
    "file-missing": "a file of this model is missing",
    "orders-unchecked": "the gateway cannot see its operator's orders",
    "orders-unreadable": "the gateway cannot read its operator's orders",
    "revoked": "the certificate of this model is revoked",
    "status-expired": "the status list of this model's certificate is too old",
    "stopped-by-operator": "this model was stopped by its operator",
    "stopping": "the gateway is being stopped",
    "suspended": "the certificate of this model is suspended",
    "system-changed": "the certificate is now for another model",
}


def stopped(reason: str) -> HttpError:
    """Return the 503 of a stopped service; `code` is the reason."""
    words = _STOP_WORDS.get(reason, "the certificate of this model cannot be confirmed")
    return HttpError(f"{words} ({reason})", status=503, kind="service_unavailable", code=reason)
