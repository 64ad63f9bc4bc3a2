"""The common form of every record: frozen, versioned, canonical JSON in and out."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from recert.digest import canonical_json, sha256_bytes
from recert.errors import RecordError

if TYPE_CHECKING:
    from json import JSONDecoder


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("times need a UTC offset")
    try:
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError as exc:
        raise ValueError("time is out of range") from exc


Moment = Annotated[datetime, AfterValidator(_utc)]
"""A time in UTC, whole seconds, RFC 3339 in JSON."""


def now() -> datetime:
    """Return the present time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


class Part(BaseModel):
    """A piece of a record: frozen, keeps fields it does not know, refuses NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Record(Part):
    """
    A document that a stage hands over. It is named by the sha256 of its canonical JSON.

    Reading and writing again gives the same bytes, fields of later versions included.
    """

    schema_name: ClassVar[str] = ""
    schema_version: int = 1

    def to_value(self) -> dict[str, Any]:
        """Return the record as a JSON value. Fields that are None are left out."""
        value = self.model_dump(mode="json", exclude_none=True)
        assert isinstance(value, dict)
        return value

    def to_json(self) -> bytes:
        """Return the record as canonical JSON (RFC 8785)."""
        return canonical_json(self.to_value())

    @property
    def digest(self) -> str:
        """The sha256 of the record's canonical JSON, 64 hex digits."""
        return sha256_bytes(self.to_json())

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """
        Read a record from JSON.

        Raises:
            RecordError: the data is not JSON, has repeated keys, or is not this kind of record.
        """
        try:
            return cls.model_validate_json(canonical_json(parse_json(data)))
        except ValidationError as exc:
            first = exc.errors()[0]
            raise RecordError(
                f"not a valid {cls.__name__}",
                facts={"field": ".".join(map(str, first["loc"])), "because": first["msg"]},
            ) from exc


def parse_json(data: bytes) -> Any:
    """
    Parse JSON strictly: no NaN, no repeated keys (parsers differ on which one wins).

    Raises:
        RecordError: the data is not such JSON.
    """
    try:
        orjson.loads(data)  # strict about NaN, encoding and depth
        return _decoder().decode(str(data, "utf-8"))
    except (ValueError, RecursionError) as exc:
        raise RecordError("not valid JSON", facts={"because": exc}) from exc


@cache
def _decoder() -> JSONDecoder:
    from json import JSONDecoder

    return JSONDecoder(object_pairs_hook=_unique, parse_int=_whole)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("repeated key")
    return out


def _whole(digits: str) -> int | float:
    """Canonical JSON writes the float 4.2e17 as a whole number: read it back as that float."""
    number = int(digits)
    return number if abs(number) < 2**53 else float(digits)
