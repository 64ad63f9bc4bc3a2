"""
Every error Recert raises, in one tree.

```
RecertError                 could not answer: counts as "no", exit code 2
├── InputError              a file, row or option the user gave cannot be used
│   ├── RowsError           tuning rows: malformed, empty, none accepted
│   ├── SuiteError          a prompt suite cannot be read or used
│   ├── PolicyError         a policy file is invalid
│   ├── GraderError         a grader file cannot be understood, or cannot run here
│   └── SettingsError       a setting (environment, option) is invalid
├── RecordError             a stored record cannot be read, or is not what it says
├── ModelError              a model cannot be loaded or does not answer
│   ├── ArtefactError       an attack artefact was offered where it must not go
│   ├── TemplateError       a chat template refuses a conversation
│   ├── ArmError            an arm of the comparison is not the model it claims to be
│   └── EndpointError       a remote model refused, failed or timed out
├── MissingExtraError       an optional part of Recert is not installed
├── PairingError            the two arms cannot be paired
├── StoreError              a file or database could not be written or read
├── SigningKeyError         a key cannot be read, is unsafe or of the wrong kind
├── VerificationError       a certificate, status list or model signature is refused; carries a reason code
└── GatewayError            the gateway cannot start or must stop; carries a reason code
    └── CopyError           a private copy of a model cannot be made; a StoreError too
```

A "no" that was reached by looking is a `Verdict`, not an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class RecertError(Exception):
    """
    What happened, the facts, and what to do about it.

    Args:
        message: one lower-case sentence without a full stop.
        facts: named values that show the problem, expected beside actual.
        hint: what the user can do next.
    """

    def __init__(self, message: str, *, facts: Mapping[str, object] | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.facts: dict[str, str] = {k: str(v) for k, v in (facts or {}).items()}
        self.hint = hint

    def __str__(self) -> str:
        width = max((len(k) for k in self.facts), default=0)
        lines = [self.message, *(f"  {k:<{width}}  {v}" for k, v in self.facts.items())]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class InputError(RecertError):
    """A file, row or option the user gave cannot be used."""


class RowsError(InputError):
    """Tuning rows are malformed, empty, or none was accepted."""


class SuiteError(InputError):
    """A prompt suite cannot be read or used."""


class PolicyError(InputError):
    """A policy file is invalid."""


class GraderError(InputError):
    """A grader file cannot be understood, or cannot run here. `at` among the facts is the place in its JSON."""


class SettingsError(InputError):
    """A setting is invalid."""


class RecordError(RecertError):
    """A stored record cannot be read, or is not what it says."""


class ModelError(RecertError):
    """
    A model cannot be loaded or does not answer.

    `made` holds replies that were there before it failed, by the place of the conversation: they may have
    been paid for, and need not be asked for again.
    """

    made: Mapping[int, Any] = MappingProxyType({})


class ArtefactError(ModelError):
    """An attack artefact was offered where it must not go."""


class TemplateError(ModelError):
    """A model's chat template refuses a conversation, such as one with two requests in a row."""


class ArmError(ModelError):
    """An arm of the comparison is not the model it claims to be."""


class EndpointError(ModelError):
    """A remote model refused, failed or timed out."""


class MissingExtraError(RecertError):
    """An optional part of Recert is not installed."""


class PairingError(RecertError):
    """The two arms cannot be paired."""


class StoreError(RecertError):
    """A file or database could not be written or read."""


class SigningKeyError(RecertError):
    """A key cannot be read, is unsafe, or is of the wrong kind."""


class _Reasoned(RecertError):
    """An error with a machine-readable reason code."""

    def __init__(
        self, reason: str, message: str, *, facts: Mapping[str, object] | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, facts=facts, hint=hint)
        self.reason = reason


class VerificationError(_Reasoned):
    """
    A certificate, a status list or a model signature is refused.

    `reason` is a code of `spec/verification.md`, such as `file-differs` or `expired`.
    """


class GatewayError(_Reasoned):
    """The gateway cannot start or must stop. `reason` is a short code such as `certificate-expired`."""


class CopyError(GatewayError, StoreError):
    """A private copy of a model, from which it would be loaded, cannot be made. `reason` is `no-copy`."""
