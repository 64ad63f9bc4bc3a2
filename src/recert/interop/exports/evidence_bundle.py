"""
A certificate with everything it rests on, in one zip whose every digest can be checked by hand.

The same input gives the same bytes: nothing is compressed, every time is that of the zip format's beginning, and the
files lie in order of name. Harmful replies are redacted unless that is asked for, and then the bundle says so.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from recert.digest import canonical_json, sha256_bytes, sha256_file
from recert.errors import InputError, RecordError, StoreError
from recert.evaluation.report.folder import EvaluationFolder, Texts
from recert.evaluation.stage import OUTCOMES_FILE, REPORT_FILE
from recert.interop.exports.bundle_words import bundle_readme
from recert.interop.exports.formats import json_text
from recert.interop.exports.samples import SAMPLES, draw_samples
from recert.records.data.suite import Suite
from recert.records.record import parse_json
from recert.records.signed.bundle import BundledFile, EvidenceBundle
from recert.records.signed.certificate import Certificate
from recert.store.files.writing import read_bytes, write_atomic
from recert.workflows.certificates.source import SignedCertificate

MANIFEST_FILE: Final = "MANIFEST.json"
SUMS_FILE: Final = "SHA256SUMS"
README_FILE: Final = "README.md"
SAMPLES_FILE: Final = "samples.jsonl"
CERTIFICATE_FILE: Final = "certificate.json"
_BEGINNING: Final = (1980, 1, 1, 0, 0, 0)

_Content = bytes | Path


def write_evidence_bundle(
    target: Path,
    source: SignedCertificate,
    evaluation: EvaluationFolder,
    *,
    reports: Sequence[Path] = (),
    suites: Mapping[str, Suite] | None = None,
    also: Mapping[str, bytes] | None = None,
    size: int = SAMPLES,
) -> EvidenceBundle:
    """
    Write the evidence of a certificate to a zip file and return its manifest.

    Args:
        target: the file. Where the evaluation was opened with harmful replies it has mode 0600.
        source: the certificate.
        evaluation: the evaluation that it names.
        reports: files of other reports that it names: of tuning, screening, stress, hunt, watch.
        suites: the prompts' texts.
        also: other files, by name.
        size: samples of each suite, condition and set of controls, 5 or more.

    Raises:
        InputError: the certificate is a draft or no pass, or does not name the evaluation or a report.
        RecordError: a report or the outcomes are damaged.
        StoreError: a file cannot be read, or the bundle not written.
    """
    source.require_final()
    named = named_reports(source.certificate)
    _require_evaluation(source.certificate, evaluation)
    contents: dict[str, tuple[_Content, str]] = {
        CERTIFICATE_FILE: (source.envelope, ""),
        REPORT_FILE: (_canonical(evaluation.folder / REPORT_FILE), "eval_report_sha256"),
        OUTCOMES_FILE: (evaluation.folder / OUTCOMES_FILE, "evidence_sha256"),
    }
    for path in reports:
        data = _canonical(path)
        field = next((f for f, digest in named.items() if digest == sha256_bytes(data)), None)
        if field is None:
            raise InputError(
                "report is none that the certificate names",
                facts={"file": path, "sha256": sha256_bytes(data), **named},
            )
        contents[f"{_short(field)}-report.json"] = (data, field)
    drawn = draw_samples(
        evaluation.outcomes,
        certificate_sha256=source.sha256,
        texts=Texts(evaluation.report, suites or {}),
        size=size,
    )
    contents[SAMPLES_FILE] = (drawn.lines, "")
    contents |= {name: (data, "") for name, data in (also or {}).items()}
    held = {field for _, field in contents.values()}
    bundle = EvidenceBundle(
        serial=source.certificate.serial,
        model_name=source.certificate.model_name,
        certificate_sha256=source.sha256,
        signatures=source.signatures,
        files=tuple(_entry(name, *contents[name]) for name in sorted(contents)),
        missing=tuple(field for field in named if field not in held),
        revealed=evaluation.with_harmful,
        samples_each=size,
        groups=drawn.groups,
    )
    _write(target, {n: c for n, (c, _) in contents.items()}, bundle)
    return bundle


def named_reports(certificate: Certificate) -> dict[str, str]:
    """Return the digests of reports beside the evaluation's that a certificate names, by field."""
    found = {
        "tune_report_sha256": certificate.tune_report_sha256,
        "screen_report_sha256": certificate.screen_report_sha256,
        "watch_report_sha256": certificate.watch_report_sha256,
        "trigger_search.report_sha256": (s := certificate.trigger_search) and s.report_sha256,
        "base_stress.report_sha256": (b := certificate.base_stress) and b.report_sha256,
        "attacker.report_sha256": (a := certificate.attacker) and a.report_sha256,
    }
    return {field: digest for field, digest in found.items() if digest}


def find_reports(certificate: Certificate, folder: Path) -> list[Path]:
    """Return the reports below a folder, at most two deep, that a certificate names; none twice."""
    wanted = set(named_reports(certificate).values())
    found: dict[str, Path] = {}
    for path in sorted([*folder.glob("*-report.json"), *folder.glob("*/*-report.json")]):
        try:
            digest = sha256_bytes(_canonical(path))
        except (RecordError, StoreError):
            continue  # not a report, so not one that is named
        if digest in wanted:
            found.setdefault(digest, path)
    return list(found.values())


def _require_evaluation(certificate: Certificate, evaluation: EvaluationFolder) -> None:
    """`EvaluationFolder.open` has seen to it that the outcomes are the report's."""
    report = sha256_bytes(_canonical(evaluation.folder / REPORT_FILE))
    if (report, evaluation.report.outcomes_sha256) != (
        certificate.eval_report_sha256,
        certificate.evidence_sha256,
    ):
        raise InputError(
            "evaluation is not the certificate's",
            facts={
                "folder": evaluation.folder,
                "report named": certificate.eval_report_sha256,
                "report there": report,
                "outcomes named": certificate.evidence_sha256,
                "outcomes there": evaluation.report.outcomes_sha256,
            },
            hint="give the folder that `recert certify` was given",
        )


def _canonical(path: Path) -> bytes:
    """A record's file in the one form that its digest is of."""
    try:
        return canonical_json(parse_json(read_bytes(path, "report")))
    except RecordError as exc:
        raise RecordError(exc.message, facts={"file": path, **exc.facts}, hint=exc.hint) from exc


def _short(field: str) -> str:
    """The first part of a report's file: `tune` for `tune_report_sha256`, `base-stress` for that of `base_stress`."""
    return field.removesuffix("_report_sha256").removesuffix(".report_sha256").replace("_", "-")


def _entry(name: str, content: _Content, field: str) -> BundledFile:
    if isinstance(content, bytes):
        return BundledFile(name=name, size_bytes=len(content), sha256=sha256_bytes(content), named_as=field)
    size = content.stat().st_size
    return BundledFile(name=name, size_bytes=size, sha256=sha256_file(content), named_as=field)


def _write(target: Path, contents: Mapping[str, _Content], bundle: EvidenceBundle) -> None:
    manifest, readme = json_text(bundle.to_value()), bundle_readme(bundle).encode()
    sums = [
        *((f.sha256, f.name) for f in bundle.files),
        (sha256_bytes(manifest), MANIFEST_FILE),
        (sha256_bytes(readme), README_FILE),
    ]
    listed = "".join(f"{digest}  {name}\n" for digest, name in sorted(sums, key=lambda one: one[1]))
    whole: dict[str, _Content] = {
        **contents,
        MANIFEST_FILE: manifest,
        README_FILE: readme,
        SUMS_FILE: listed.encode(),
    }
    try:
        with tempfile.TemporaryFile() as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as bundled:
                for name in sorted(whole):
                    info = zipfile.ZipInfo(name, date_time=_BEGINNING)
                    info.create_system, info.external_attr = 3, 0o100644 << 16
                    _put(bundled, info, whole[name])
            file.seek(0)
            write_atomic(target, file, mode=0o600 if bundle.revealed else 0o644)
    except OSError as exc:
        raise StoreError("cannot write the bundle", facts={"file": target, "because": exc.strerror}) from exc


def _put(bundled: zipfile.ZipFile, info: zipfile.ZipInfo, content: _Content) -> None:
    with bundled.open(info, "w", force_zip64=False) as member, _opened(content) as data:
        while block := data.read(1 << 20):
            member.write(block)


def _opened(content: _Content) -> io.BufferedIOBase:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
