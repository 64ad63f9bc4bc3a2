"""From what was typed to what signing takes: keys and commands, refusals, the policy that decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recert.certification import CertifiedBase, SigningKey, TrustStore
    from recert.policy import Policy
    from recert.records.record import Record
    from recert.records.reports.tuning import TuneReport
    from recert.records.signed.certificate import Certificate, Step


def refusals_path(certificate: Path, given: Path | None) -> Path:
    """Return the folder of refusals: as given, or `refusals` beside the certificate."""
    from recert.certification.signing.refusals import FOLDER

    return given or certificate.parent / FOLDER


def load_refusals(certificate: Path, given: Path | None) -> tuple[bytes, ...]:
    """Return what is said against certificates there; a folder that was given must be there."""
    from recert.certification.signing.refusals import read_refusals

    return read_refusals(refusals_path(certificate, given), required=given is not None)


def say_unsafe(trust: TrustStore | None) -> None:
    """Say on stderr where a trust store is an unsafe one, and what the way out is."""
    from recert.certification.trust.store import unsafe_words
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


def load_step_key(step: Step, key: Path | None, command: str | None) -> SigningKey | None:
    """
    Return the key of who runs a step; None where none was given.

    Raises:
        InputError: there is a signer command, and no key.
        SigningKeyError: the key cannot be read, or has another role.
    """
    from recert.errors import InputError
    from recert.records.signed.certificate import STEP_ROLES

    if key is None:
        if command is not None:
            raise InputError("a signer command needs the .pub file of its key", hint="give --key")
        return None
    signer = load_signer(key, command)
    signer.require_role(STEP_ROLES[step])
    return signer


def sign_report(path: Path, report: Record, key: SigningKey | None) -> None:
    """
    Write the link of a report that was written, or say on stderr that nobody signed it.

    Raises:
        SigningKeyError: it could not be signed.
        StoreError: it cannot be written.
    """
    from recert.certification.signing.links import write_link

    write_link(path, report, key)
    tell_unsigned(path, key)


def sign_tuning(output: Path, report: TuneReport, key: SigningKey | None) -> None:
    """Write the links of a tune and its checkpoints, or say that nobody signed them. Raises as `sign_report`."""
    from recert.tuning.stage import REPORT_NAME
    from recert.workflows.signers import sign_tune

    sign_tune(output, report, key)
    tell_unsigned(output / REPORT_NAME, key)


def tell_unsigned(path: Path, key: SigningKey | None) -> None:
    """Say on stderr that nobody signed for a report, where that is so."""
    from recert.cli.printing import talk

    if key is None:
        talk().print(
            f"unsigned: {path} is no evidence without --key: `certify` will not take it", soft_wrap=True
        )


def load_signed(reports: Mapping[Step, Path | None], given: Sequence[Path] = ()) -> dict[str, Any]:
    """
    Return reports as `certify` takes them, and as `links` those that lie beside them, or are given in their place.

    Raises:
        StoreError: one cannot be read.
        RecordError: a report is another kind of record.
        VerificationError: a given link is none.
    """
    from recert.certification.signing.links import read_links, step_named
    from recert.cli.loading import load_record
    from recert.records.reports.attack_report import AttackReport
    from recert.records.reports.evaluation import EvalReport
    from recert.records.reports.screening import ScreenReport
    from recert.records.reports.stress import StressReport
    from recert.records.reports.tuning import TuneReport
    from recert.store.files.writing import read_bytes

    kinds: dict[Step, tuple[str, type[Record]]] = {
        "screen": ("screen_report", ScreenReport),
        "tune": ("tune_report", TuneReport),
        "evaluate": ("eval_report", EvalReport),
        "stress": ("stress_report", StressReport),
        "attack": ("attack_report", AttackReport),
    }
    there = {step: path for step, path in reports.items() if path is not None}
    found: dict[str, Any] = {
        kinds[step][0]: load_record(kinds[step][1], path) for step, path in there.items()
    }
    links = read_links(there)
    for path in given:
        link = read_bytes(path, "link")
        links[step_named(link)] = link
    return found | {"links": links}


def load_watch_link(report: Path, given: Path | None) -> bytes:
    """
    Return who signed for a watch: as given, or what lies beside its report.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    from recert.certification.signing.links import link_path
    from recert.errors import StoreError
    from recert.store.files.writing import read_bytes

    path = given or link_path(report, "watch")
    if not path.exists():
        raise StoreError(
            "nobody signed this watch",
            facts={"link": path},
            hint="run `recert watch` with --key WATCHER.pem, or give --link FILE",
        )
    return read_bytes(path, "link")


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
    from recert.store.files.writing import read_bytes

    return read_certified_base(
        read_bytes(path, "certificate of the base"),
        trust=TrustStore.load(trust),
        status=load_status(path, status),
        policy=expected_policy(policy),
        refusals=load_refusals(path, None),
    )
