"""From what was typed to what signing takes: keys and commands, refusals, the policy that decided."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recert.certification import CertifiedBase, SigningKey, TrustStore
    from recert.policy import Policy
    from recert.records import Certificate


def refusals_path(certificate: Path, given: Path | None) -> Path:
    """Return the folder of refusals: as given, or `refusals` beside the certificate."""
    from recert.certification.refusals import FOLDER

    return given or certificate.parent / FOLDER


def load_refusals(certificate: Path, given: Path | None) -> tuple[bytes, ...]:
    """Return what is said against certificates there; a folder that was given must be there."""
    from recert.certification.refusals import read_refusals

    return read_refusals(refusals_path(certificate, given), required=given is not None)


def say_unsafe(trust: TrustStore | None) -> None:
    """Say on stderr where a trust store is an unsafe one, and what the way out is."""
    from recert.certification.trust import unsafe_words
    from recert.cli.printing import talk

    if trust is not None and trust.unsafe:
        talk().print(f"warning: {unsafe_words(trust)}", soft_wrap=True)


def load_signer(key: Path, command: str | None) -> SigningKey:
    """
    Return what signs: a private key, or a command for the key of a `.pub` file.

    Raises:
        SigningKeyError: a key cannot be read, or the command cannot be understood.
    """
    from recert.certification import command_signer, load_key, load_public_key

    return load_key(key) if command is None else command_signer(load_public_key(key), command)


def load_signers(keys: Sequence[Path], commands: Sequence[str]) -> list[SigningKey]:
    """
    Return what signs: private keys, and for each `.pub` file among the keys one of the commands, in order.

    Raises:
        InputError: there are more or fewer commands than `.pub` files.
        SigningKeyError: as `load_signer`.
    """
    from recert.errors import InputError

    kept_elsewhere = [key for key in keys if key.suffix == ".pub"]
    if len(kept_elsewhere) != len(commands):
        raise InputError(
            "each key that is a .pub file needs its own signer command",
            facts={".pub files": len(kept_elsewhere), "commands": len(commands)},
            hint="repeat --signer-command in the order of these keys",
        )
    named = dict(zip(kept_elsewhere, commands, strict=True))
    return [load_signer(key, named.get(key)) for key in keys]


def load_policy_of(certificate: Certificate, given: str | None) -> Policy | None:
    """
    Return the policy that was given, else the shipped profile that decided about a certificate; None where none did.

    Raises:
        PolicyError: the given one cannot be read.
    """
    from recert.policy import load_policy, shipped_policy

    return load_policy(given) if given is not None else shipped_policy(certificate.policy_sha256)


def load_certified_base(
    path: Path, trust: Path, policy: str | None, status: Path | None = None
) -> CertifiedBase:
    """
    Return a base's certificate, which holds now by the status list and the refusals beside it.

    Args:
        path: the base's certificate.
        trust: trusted keys.
        policy: the policy that it must be under, as it was typed.
        status: its status list; by default `status.json` beside it.

    Raises:
        VerificationError: it does not hold.
        StoreError: a file cannot be read.
    """
    from recert.certification import TrustStore, read_certified_base
    from recert.cli.loading import load_status
    from recert.policy.expected import expected_policy
    from recert.store.files import read_bytes

    return read_certified_base(
        read_bytes(path, "certificate of the base"),
        trust=TrustStore.load(trust),
        status=load_status(path, status),
        policy=expected_policy(policy),
        refusals=load_refusals(path, None),
    )
