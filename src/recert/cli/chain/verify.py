"""`recert verify`: does this certificate hold, now, for exactly these files?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import (
    DEFAULT_BASE,
    AsJson,
    Base,
    BaseCertificate,
    BasePolicy,
    Certificate,
    Refusals,
    Status,
    Trust,
    Tuned,
)
from recert.cli.remembering import Memory

if TYPE_CHECKING:
    from recert.certification import Presented, Verifier
    from recert.records.signed.certificate import Certificate as CertificateRecord
    from recert.store.files.known_files import KnownFiles


Cached = Annotated[
    bool,
    typer.Option(
        "--cached",
        help="Do not read read-only files again that look untouched since they were hashed here, within a day. "
        "It does not notice what root or you yourself do to hide a change.",
    ),
]
Blake3 = Annotated[
    bool,
    typer.Option(
        "--blake3",
        help="Hash with BLAKE3, on all cores, what was hashed here before with it and sha256 both.",
    ),
]


def verify(
    *,
    certificate: Certificate,
    model: Tuned,
    trust: Trust,
    base: Base = DEFAULT_BASE,
    status: Status = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Policy it must be under: a profile, a TOML file, or its sha256."),
    ] = None,
    last_status_version: Annotated[
        int | None, typer.Option(help="Highest version of the status list seen before, to notice a rollback.")
    ] = None,
    refusals: Refusals = None,
    base_certificate: BaseCertificate = None,
    base_policy: BasePolicy = None,
    log_proof: Annotated[
        Path | None, typer.Option(help="Proof that it is in a transparency log, from `recert log prove`.")
    ] = None,
    require_logged: Annotated[
        bool,
        typer.Option(
            "--require-logged",
            help="No proof, no yes, whatever the policy says; by default `NAME.log-proof.json` beside the certificate.",
        ),
    ] = False,
    memory: Memory = "",
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Tell every step with its answer, also those after the first no; the models' files are not read.",
        ),
    ] = False,
    cached: Cached = False,
    blake3: Blake3 = False,
    as_json: AsJson = False,
) -> None:
    """
    Verify a certificate offline, down to every byte.

    With `--json` a no is an object too: `valid`, `reason`, `message`, `facts` and `hint`.

    Exit 0: it holds, 1: it does not, 2: no answer.
    """
    from recert.certification import Presented, TrustStore, Verifier
    from recert.certification.log.memory_file import memory_at
    from recert.certification.verifier.folders import Reading
    from recert.cli.certifying.signing import load_certified_base, say_unsafe
    from recert.cli.certifying.signoff import draw_exceptions
    from recert.cli.hashing import hashing_bar
    from recert.cli.loading import load_status
    from recert.cli.printing import data, sheet
    from recert.policy.expected import expected_policy

    known = _known_files(cached=cached, blake3=blake3) if cached or blake3 else None
    under = expected_policy(policy)
    verifier = Verifier(
        trust=TrustStore.load(trust),
        status=load_status(certificate, status),
        policy=under,
        memory=memory_at(memory),
        last_status_version=last_status_version,
    )
    presented = Presented.read(
        certificate,
        policy=under,
        refusals=refusals,
        proof=log_proof,
        logged=require_logged,
        base=load_certified_base(base_certificate, trust, base_policy) if base_certificate else None,
    )
    if explain:
        raise typer.Exit(_explained(verifier, presented, as_json=as_json))
    with _told_as_json(as_json=as_json), hashing_bar() as progress:
        base_dir = _base_folder(base, presented)
        verified = verifier.verify(
            presented, base_dir=base_dir, tuned_dir=model, reading=Reading(known, progress)
        )
    draw_exceptions(verified.certificate.exceptions or ())
    say_unsafe(verifier.trust)
    if as_json:
        data(verified.certificate)
        return
    read = _how_read(verified.certificate, known) if cached and known is not None else ()
    sheet("This certificate holds", [*in_words(verified.certificate), *read])
    typer.echo(
        f"valid {verified.certificate.serial} until {verified.certificate.expires_at:%Y-%m-%dT%H:%M:%SZ}"
    )


@contextmanager
def _told_as_json(*, as_json: bool) -> Iterator[None]:
    """Print a no as JSON too, where JSON was asked for; the error goes on and decides the exit code."""
    from recert.errors import VerificationError

    try:
        yield
    except VerificationError as exc:
        if as_json:
            no = {
                "valid": False,
                "reason": exc.reason,
                "message": exc.message,
                "facts": exc.facts,
                "hint": exc.hint,
            }
            typer.echo(json.dumps(no, indent=2))
        raise


def _base_folder(base: str, presented: Presented) -> Path:
    """Return the base's folder. A certificate of a hosted model is refused before any folder is read: none is made."""
    from recert.certification import read_unverified
    from recert.cli.loading import load_base
    from recert.errors import RecertError

    try:
        binds = read_unverified(presented.envelope).binds
    except RecertError:
        binds = "bytes"  # the verifier says what is wrong with it
    return load_base(base) if binds == "bytes" else Path(base)


def _explained(verifier: Verifier, presented: Presented, *, as_json: bool) -> int:
    """Print every step that needs no model, with its answer; return the exit code."""
    from recert.certification.verifier import first_failed
    from recert.cli.printing import NO, YES, sheet

    told = verifier.explain(presented)
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in told], indent=2))
    else:
        rows = [(f"{one.step} {one.answer}", one.asks) for one in told]
        for one in told:
            if one.answer == "failed":
                facts = "; ".join(f"{name}: {value}" for name, value in one.facts.items())
                said = f"{one.reason}: {one.words}{f' ({facts})' if facts else ''}"
                rows.append((f"{one.step} because", said))
        sheet("What verification asks", rows)
    return NO if first_failed(told) is not None else YES


def _known_files(*, cached: bool, blake3: bool) -> KnownFiles:
    from recert import settings
    from recert.store.files.known_files import KnownFiles

    folder = settings.cache_dir() / "known-files"
    return KnownFiles(folder, untouched=cached, blake3_threads=settings.threads() if blake3 else 0)


def _how_read(certificate: CertificateRecord, known: KnownFiles) -> Iterator[tuple[str, str]]:
    whole = sum(f.size_bytes for f in (*certificate.base.files, *certificate.tuned.files))
    yield "read now", f"{known.read_bytes} of {whole} bytes; the others look untouched since they were hashed"
    if known.not_remembered:
        yield (
            "read each time",
            f"{known.not_remembered} files: they are not read-only and yours (`chmod a-w`), or written within the last "
            "two seconds, or on a file system whose times say too little",
        )


def in_words(certificate: CertificateRecord) -> Iterator[tuple[str, str]]:
    """Yield what a certificate says, as pairs of a heading and words."""
    size_bytes = sum(f.size_bytes for f in certificate.tuned.files)
    yield "serial", certificate.serial
    yield "model", f"{certificate.model_name} ({certificate.delta_kind})"
    yield (
        "files",
        f"{len(certificate.tuned.files)} tuned ({size_bytes} bytes), {len(certificate.base.files)} base",
    )
    yield "tuned manifest", f"sha256:{certificate.tuned.digest}"
    if certificate.ears is not None:
        ears = certificate.ears
        yield "heard by", f"{len(ears.files)} files, manifest sha256:{ears.digest}, {ears.engine}"
    yield "policy", f"{certificate.policy_id} {certificate.policy_version} sha256:{certificate.policy_sha256}"
    yield "verdict alone", str(certificate.verdict_raw)
    if certificate.required_controls:
        behind = ", ".join(certificate.required_controls)
        yield f"behind {behind}", str(certificate.verdict_safeguarded)
    yield "defence", certificate.defence
    if certificate.base_certificate is not None:
        yield "base's certificate", certificate.base_certificate.serial
    for approval in certificate.approvals:
        yield approval.role, f"{approval.name} {approval.key_id[:16]}".strip()
    yield "holds", f"{certificate.not_before:%Y-%m-%d %H:%M} to {certificate.expires_at:%Y-%m-%d %H:%M} UTC"
    for number, words in enumerate(certificate.limitations, start=1):
        yield f"limitation {number}", words
