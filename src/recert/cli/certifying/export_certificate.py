"""A certificate in the formats that others read: what `recert export` does with its file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recert.records.reports.evaluation import EvalReport
    from recert.workflows.certificates.source import SignedCertificate

ENDINGS = {
    "cyclonedx": ".cdx.json",
    "spdx": ".spdx.json",
    "model-card": ".card.md",
    "model-index": ".model-index.yaml",
    "report": ".report.html",
    "pdf": ".report.pdf",
    "evidence": ".evidence.zip",
    "oms": ".oms.sig",
}
"""How the file of each format ends beside the certificate's, unless another place is given."""


@dataclass(frozen=True)
class Asked:
    """What was asked for beside the format."""

    output: Path | None
    trust: Path | None
    evaluation: Path | None
    reports: Sequence[Path]
    model: Path | None
    key: Path | None
    suites: Sequence[str]
    reveal: bool


def export_certificate(path: Path, name: str, asked: Asked, *, draw: Callable[[Path, Any], None]) -> Path:
    """
    Write a certificate in a format and return the file.

    Args:
        path: the certificate's file.
        name: the format.
        asked: the rest of what was asked for.
        draw: writes pages; commands import none.

    Raises:
        InputError: there is no such format, the certificate is a draft, or what the format needs was not given.
        VerificationError: trusted keys were given, and the certificate is refused.
        RecordError, StoreError, SigningKeyError, MissingExtraError: what is read cannot be, or not written.
    """
    from recert.certification import TrustStore
    from recert.cli.printing import talk
    from recert.errors import InputError
    from recert.workflows.certificates.source import SignedCertificate

    if name not in ENDINGS:
        raise InputError(
            "no such format of a certificate",
            facts={"given": name, "there are": ", ".join(ENDINGS)},
            hint="other formats are of an evaluation: give its folder",
        )
    source = SignedCertificate.open(path, trust=TrustStore.load(asked.trust) if asked.trust else None)
    if not source.proven:
        talk().print("the certificate's signatures were not checked: give --trust to do so", soft_wrap=True)
    target = asked.output or path.with_name(path.stem + ENDINGS[name])
    if name in ("report", "pdf"):
        from recert.workflows.certificates.sign_off import SignOff

        draw(target, SignOff(source, evaluation=_evaluation(source, path, asked), pdf=name == "pdf"))
    elif name == "evidence":
        _write_bundle(source, path, target, asked, draw)
    elif name == "oms":
        _write_signature(source, target, asked)
    else:
        _write_text(source, name, target)
    return target


def _write_text(source: SignedCertificate, name: str, target: Path) -> None:
    from recert.interop.exports.cyclonedx import cyclonedx_json
    from recert.interop.exports.model_card import model_card, with_section
    from recert.interop.exports.model_index import model_index, with_metadata
    from recert.interop.exports.spdx import spdx_json
    from recert.store.files.writing import read_bytes, write_atomic

    there = read_bytes(target, "README") if target.suffix.lower() == ".md" and target.exists() else b""
    if name == "cyclonedx":
        data = cyclonedx_json(source)
    elif name == "spdx":
        data = spdx_json(source)
    elif name == "model-card":
        data = with_section(there, model_card(source))
    elif target.suffix.lower() == ".md":
        data = with_metadata(there, model_index(source))
    else:
        data = model_index(source).encode()
    write_atomic(target, data)


def _evaluation(source: SignedCertificate, path: Path, asked: Asked) -> EvalReport | None:
    """The report that the certificate names, where it was given or lies beside the certificate."""
    from recert.cli.printing import talk
    from recert.errors import InputError
    from recert.evaluation.stage import REPORT_FILE
    from recert.workflows.certificates.sign_off import named_evaluation

    if asked.evaluation is not None:
        return named_evaluation(asked.evaluation / REPORT_FILE, source.certificate)
    beside = path.parent / "evaluation" / REPORT_FILE
    try:
        return named_evaluation(beside, source.certificate) if beside.exists() else None
    except InputError:
        talk().print(f"left out, as it is of another certificate: {beside}", soft_wrap=True)
        return None


def _write_bundle(
    source: SignedCertificate, path: Path, target: Path, asked: Asked, draw: Callable[[Path, Any], None]
) -> None:
    import tempfile

    from recert.cli.loading import load_suites
    from recert.cli.printing import talk
    from recert.evaluation.report.folder import EvaluationFolder
    from recert.interop.exports.evidence_bundle import find_reports, write_evidence_bundle
    from recert.store.files.writing import read_bytes
    from recert.workflows.certificates.sign_off import SignOff

    folder = asked.evaluation or path.parent / "evaluation"
    evaluation = EvaluationFolder.open(folder, with_harmful=asked.reveal)
    with tempfile.TemporaryDirectory(prefix="recert-bundle-") as name:
        page = Path(name) / "sign-off.html"
        draw(page, SignOff(source))
        sheet = read_bytes(page)
    bundle = write_evidence_bundle(
        target,
        source,
        evaluation,
        reports=asked.reports or find_reports(source.certificate, path.parent),
        suites=load_suites(asked.suites),
        also={"sign-off.html": sheet},
    )
    for field in bundle.missing:
        talk().print(f"not in the bundle: the report that the certificate names as {field}", soft_wrap=True)
    if bundle.revealed:
        talk().print("harmful replies stand in the bundle's samples, as you asked", soft_wrap=True)


def _write_signature(source: SignedCertificate, target: Path, asked: Asked) -> None:
    from recert.cli.printing import talk
    from recert.errors import InputError
    from recert.interop.exports.model_bundle import model_bundle
    from recert.interop.openssf.model_signature import load_ec_key
    from recert.store.files.writing import write_atomic

    if asked.model is None or asked.key is None:
        raise InputError(
            "a model signature needs a folder and a key",
            hint="give --model with the certified folder, and --key with a private ECDSA key",
        )
    if target.resolve().is_relative_to(asked.model.resolve()):
        raise InputError(
            "a signature in the model's folder would be a file that is not certified",
            facts={"folder": asked.model, "output": target},
            hint="give --output outside of it",
        )
    bundle, left_out = model_bundle(source, asked.model, load_ec_key(asked.key))
    write_atomic(target, bundle)
    for name in left_out:
        talk().print(f"not covered by the signature, as verifiers pass it over: {name}", soft_wrap=True)
