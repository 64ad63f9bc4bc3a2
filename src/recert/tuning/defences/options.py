"""What a defence can be told, and how it is read from words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from recert.errors import InputError


class DefenceOptions(BaseModel):
    """Named values of one defence, each with a default. The report of a tune records them, so none is a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def recorded(self) -> dict[str, str | int | float]:
        """Return every option as the report holds it."""
        return self.model_dump(mode="json")


AnyOptions = TypeVar("AnyOptions", bound=DefenceOptions)


def read_options(
    kind: type[AnyOptions], given: Mapping[str, Any] | DefenceOptions | None, *, name: str
) -> AnyOptions:
    """
    Return the options of a defence from values or words such as `{"rho": "0.5"}`.

    Raises:
        InputError: there is no such option, or it cannot have such a value.
    """
    if isinstance(given, DefenceOptions):
        given = given.model_dump()
    try:
        return kind.model_validate(dict(given or {}))
    except ValidationError as exc:
        first = exc.errors()[0]
        option = ".".join(map(str, first["loc"])) or "options"
        known = ", ".join(f"{key}={field.default}" for key, field in kind.model_fields.items())
        raise InputError(
            "the defence has no such option, or not with that value",
            facts={
                "defence": name,
                "option": option,
                "because": first["msg"],
                "known": known or "it has no options",
            },
        ) from exc
