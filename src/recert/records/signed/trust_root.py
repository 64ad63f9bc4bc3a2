"""The root of trust: who is who, whose keys count as what, and who may change that."""

from __future__ import annotations

import unicodedata
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record

ROOT_PAYLOAD_TYPE: Final = "application/vnd.recert.root+json"
ROOT_ROLE: Final = "root"


_LOOK_ALIKES: Final = str.maketrans(
    "аеорсухіѕјкмтвнԁԛԝһӏ" + "αβεζηικμνορτυχ" + "ı", "aeopcyxisjkmtbhdqwhl" + "abezhikmnoptyx" + "i"
)
"""Letters of Cyrillic and Greek that look like Latin ones, small or capital, and the i without a dot."""


def folded_name(name: str) -> str:
    """
    Return a person's name without what one may overlook: case, spaces, width, marks that are not printed, and the
    script of letters that look alike.
    """
    wide = unicodedata.normalize("NFKC", name).casefold()
    shown = "".join(c for c in unicodedata.normalize("NFKC", wide) if unicodedata.category(c)[0] != "C")
    return " ".join(shown.translate(_LOOK_ALIKES).split())


class RootKey(Part):
    """A key in the root of trust: whose it is, and what it may sign as."""

    key_id: Sha256
    name: str = Field(min_length=1)
    """The person who holds it. All keys of one name are one person's."""
    algorithm: Literal["ed25519", "ecdsa-p256"]
    public_key: str
    roles: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = Field(min_length=1)
    expires_at: Moment | None = None
    revoked_at: Moment | None = None
    """When it was revoked: nothing counts that it ever signed."""

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if not self.name.isprintable() or self.name != " ".join(self.name.split()):
            raise ValueError("a name must be printable, without spaces at its ends or twice in a row")
        if len(set(self.roles)) != len(self.roles):
            raise ValueError("a role is there twice")
        return self


class TrustRoot(Record):
    """
    The payload of `root.json`: one version of the root of trust.

    See `spec/trust-root.md`.
    """

    schema_name: ClassVar[str] = "trust-root"

    root_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    """What all versions of one root have in common, random."""
    version: int = Field(ge=1)
    previous_sha256: Sha256 | None = None
    """Digest of the payload of the version before; None in the first."""
    issued_at: Moment
    expires_at: Moment
    keys: tuple[RootKey, ...] = Field(min_length=1)
    root_threshold: int = Field(ge=1)
    """How many people must sign a version."""
    root_key_ids: tuple[Sha256, ...] = Field(min_length=1)
    """Whose keys may sign versions."""
    status_list_id: str | None = None
    """The status list that can end certificates; None until there is a first one."""

    def people(self, key_ids: set[str]) -> list[str]:
        """Return the people, by name, whose root keys are among these: whoever holds two is named once."""
        names = {folded_name(k.name): k.name for k in self.root_keys() if k.key_id in key_ids}
        return sorted(names.values())

    def root_keys(self) -> list[RootKey]:
        """Return the keys that may sign versions, in the order in which they are named."""
        by_id = {key.key_id: key for key in self.keys}
        return [by_id[key_id] for key_id in self.root_key_ids]

    @model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        by_id = {key.key_id: key for key in self.keys}
        if len(by_id) != len(self.keys) or len(set(self.root_key_ids)) != len(self.root_key_ids):
            raise ValueError("a key is there twice")
        for key_id in self.root_key_ids:
            key = by_id.get(key_id)
            if key is None or ROOT_ROLE not in key.roles:
                raise ValueError("a root key must be among the keys, with the role root")
            if key.revoked_at is not None or key.expires_at is not None:
                raise ValueError("a root key must not be revoked, nor expire before the root does")
        if len(self.people(set(self.root_key_ids))) < self.root_threshold:
            raise ValueError("fewer people hold root keys than must sign")
        if self.issued_at >= self.expires_at:
            raise ValueError("it expires before it is issued")
        if (self.version == 1) != (self.previous_sha256 is None):
            raise ValueError("every version but the first names the one before")
        return self
