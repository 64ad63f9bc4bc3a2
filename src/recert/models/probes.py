"""Secret probes: requests whose replies tell one model from another, and what the certified model says to them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NoReturn

from pydantic import Field, ValidationError

from recert.digest import canonical_json, sha256_bytes
from recert.errors import RecordError
from recert.models.engines.next_token import Beginning, Step, text_of, unlike_steps, unlike_texts
from recert.records.record import Part, parse_json
from recert.store.files.private import read_private, write_private

_WHAT: Final = "set of probes"
_LARGEST_BYTES: Final = 256 * 1024 * 1024


class Probe(Part):
    """One request, and how the certified model's greedy reply begins."""

    prompt: str
    beginning: tuple[Step, ...]

    def unlike(self, seen: Beginning | str) -> float:
        """Return how unlike a reply is, in [0, 1]: of its probabilities, or of its text where that is all there is."""
        if isinstance(seen, str):
            whole = text_of(self.beginning)
            return unlike_texts(whole, seen)
        return unlike_steps(self.beginning, seen)


class _File(Part):
    salt: str = Field(min_length=32)
    probes: tuple[Probe, ...] = Field(min_length=1)


class ProbeSet:
    """
    Probes that do not print themselves: `repr`, `str`, `format` and pickling never give them away.

    `sha256` is the public commitment to them; the file holds a random salt, so that nobody can guess a set and check.
    """

    __slots__ = ("_data", "_probes")

    def __init__(self, data: bytes) -> None:
        try:
            found = _File.model_validate(parse_json(data))
        except (RecordError, ValidationError):
            raise RecordError("not a set of probes") from None  # what is in it stays unsaid
        self._probes = found.probes
        self._data = data

    @classmethod
    def make(cls, probes: Iterable[Probe]) -> ProbeSet:
        """Return a set of probes with a salt of its own."""
        whole = _File(salt=secrets.token_hex(32), probes=tuple(probes))
        return cls(canonical_json(whole.model_dump(mode="json")))

    @classmethod
    def read(cls, path: Path) -> ProbeSet:
        """
        Read a file of mode 0600.

        Raises:
            StoreError: it cannot be read.
            SigningKeyError: others than the owner may read or write it, or it is a link.
            RecordError: it holds no probes.
        """
        return cls(read_private(path, _WHAT, most_bytes=_LARGEST_BYTES))

    def write(self, path: Path) -> None:
        """
        Write the set to a new file of mode 0600.

        Raises:
            StoreError: the file exists already, or cannot be written.
        """
        write_private(path, _WHAT, self._data)

    @property
    def sha256(self) -> str:
        """The sha256 of the file."""
        return sha256_bytes(self._data)

    def __iter__(self) -> Iterator[Probe]:
        return iter(self._probes)

    def __len__(self) -> int:
        return len(self._probes)

    def __repr__(self) -> str:
        return f"ProbeSet({len(self)}, sha256={self.sha256[:12]}…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ProbeSet is not pickled; write it to a file of mode 0600")
