"""Signed notes: a text and who signed it. Source: C2SP signed-note 1.0.0 and tlog-cosignature (Ed25519)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from recert.certification.signing.keys import PublicKey, SigningKey, decode_base64
from recert.errors import RecordError, SigningKeyError

MAX_NOTE_BYTES: Final = 256 * 1024
_MAX_SIGNATURES: Final = 64
_ED25519: Final = b"\x01"
_COSIGNATURE: Final = b"\x04"
_ED25519_BYTES: Final = 32
_KEY_HASH_BYTES: Final = 4
_TIME_BYTES: Final = 8
_DASH: Final = "\N{EM DASH} "


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: name and hash of the key that it says it is by, and its bytes. None is proven."""

    name: str
    key_hash: bytes
    value: bytes

    def line(self) -> str:
        """Return the line, with its end."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_hash + self.value).decode()}\n"


@dataclass(frozen=True)
class Note:
    """A text that ends with a newline, and its signatures."""

    text: str
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """
        Read a note.

        Raises:
            RecordError: it is none.
        """
        if len(data) > MAX_NOTE_BYTES:
            raise RecordError("note is too large", facts={"bytes": len(data), "at most": MAX_NOTE_BYTES})
        try:
            whole = data.decode()
        except UnicodeDecodeError as exc:
            raise RecordError("note is not UTF-8", facts={"because": exc}) from exc
        if any(c < " " and c != "\n" for c in whole):
            raise RecordError("note holds control characters")
        above, blank, below = whole.rpartition("\n\n")
        if not blank or not above or not below.endswith("\n"):
            raise RecordError("not a signed note", hint="expected a text, an empty line and signatures")
        lines = below[:-1].split("\n")
        if len(lines) > _MAX_SIGNATURES:
            raise RecordError("note has too many signatures", facts={"at most": _MAX_SIGNATURES})
        return cls(above + "\n", tuple(_signature(line) for line in lines))

    def to_bytes(self) -> bytes:
        """Return the note as it is written."""
        return (self.text + "\n" + "".join(s.line() for s in self.signatures)).encode()

    def signed_by(self, name: str, key: SigningKey) -> Note:
        """
        Return the note with one more signature, under a name; an earlier one of the same key is replaced.

        Raises:
            SigningKeyError: the key is not an Ed25519 key, or the name cannot be one.
        """
        return self._with(name, _key_hash(name, _ED25519, key.public), key.sign(self.text.encode()))

    def cosigned_by(self, name: str, key: SigningKey, *, at: int) -> Note:
        """Return the note with a witness's timestamped signature; `at` is in seconds of POSIX. Raises as above."""
        value = at.to_bytes(_TIME_BYTES, "big") + key.sign(_cosigned(self.text, at))
        return self._with(name, _key_hash(name, _COSIGNATURE, key.public), value)

    def is_signed_by(self, name: str, key: PublicKey) -> bool:
        """Say whether one of the signatures is by this key, under this name."""
        return any(key.signed(value, self.text.encode()) for value in self._by(name, _ED25519, key))

    def cosigned_at(self, name: str, key: PublicKey) -> int | None:
        """Return when this witness signed last, in seconds of POSIX; None where it did not."""
        times = [
            (int.from_bytes(value[:_TIME_BYTES], "big"), value[_TIME_BYTES:])
            for value in self._by(name, _COSIGNATURE, key)
            if len(value) > _TIME_BYTES
        ]
        return max((at for at, value in times if key.signed(value, _cosigned(self.text, at))), default=None)

    def _by(self, name: str, kind: bytes, key: PublicKey) -> list[bytes]:
        try:
            key_hash = _key_hash(name, kind, key)
        except SigningKeyError:
            return []
        return [s.value for s in self.signatures if s.name == name and s.key_hash == key_hash]

    def _with(self, name: str, key_hash: bytes, value: bytes) -> Note:
        others = tuple(s for s in self.signatures if (s.name, s.key_hash) != (name, key_hash))
        return Note(self.text, (*others, NoteSignature(name, key_hash, value)))


def verifier_key(name: str, key: PublicKey, *, witness: bool = False) -> str:
    """
    Return a key as other tools for signed notes take it, `NAME+HASH+KEY`.

    Raises:
        SigningKeyError: it is not an Ed25519 key, or the name cannot be one.
    """
    kind = _COSIGNATURE if witness else _ED25519
    shown = base64.b64encode(kind + _raw(key)).decode()
    return f"{name}+{_key_hash(name, kind, key).hex()}+{shown}"


def read_verifier_key(text: str, role: str) -> PublicKey:
    """
    Return the key that other tools write as `NAME+HASH+KEY`, for a trust store.

    Args:
        text: as they write it.
        role: the role that it is to be trusted in, `log` or `witness`.

    Raises:
        RecordError: it is none, or not an Ed25519 key of that kind.
    """
    name, _, rest = text.strip().partition("+")
    _, _, shown = rest.partition("+")
    data = decode_base64(shown)
    if data is not None and len(data) == 1 + _ED25519_BYTES:
        raw = data[1:]
        key = PublicKey(
            key_id=sha256(raw).hexdigest(),
            name=name,
            public_key=base64.b64encode(raw).decode(),
            roles=(role,),
        )
        if is_key_name(name) and verifier_key(name, key, witness=role == "witness") == text.strip():
            return key
    raise RecordError("not an Ed25519 key of a note", facts={"given": text[:120], "role": role})


def is_key_name(name: str) -> bool:
    """Say whether a key of a note may have this name."""
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _key_hash(name: str, kind: bytes, key: PublicKey) -> bytes:
    if not is_key_name(name):
        raise SigningKeyError(
            "a key that signs notes needs a name without spaces and plus",
            facts={"name": repr(name)},
            hint="make one with --name example.com/witness",
        )
    return sha256(name.encode() + b"\n" + kind + _raw(key)).digest()[:_KEY_HASH_BYTES]


def _raw(key: PublicKey) -> bytes:
    raw = decode_base64(key.public_key)
    if raw is None or len(raw) != _ED25519_BYTES:
        raise SigningKeyError("notes are signed with Ed25519 keys only", facts={"key": key.key_id})
    return raw


def _signature(line: str) -> NoteSignature:
    if line.startswith(_DASH):
        name, space, text = line.removeprefix(_DASH).partition(" ")
        data = decode_base64(text)
        if space and is_key_name(name) and data is not None and len(data) > _KEY_HASH_BYTES:
            return NoteSignature(name, data[:_KEY_HASH_BYTES], data[_KEY_HASH_BYTES:])
    raise RecordError("note has a signature line that is none", facts={"line": line[:80]})
