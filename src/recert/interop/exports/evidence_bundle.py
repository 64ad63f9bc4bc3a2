"""
A certificate with everything it rests on, in one zip whose every digest can be checked by hand.

The same input gives the same bytes: nothing is compressed, every time is that of the zip format's beginning, and the
files lie in order of name. Harmful replies are redacted unless that is asked for, and then the bundle says so.

Here too: the words in an evidence bundle: what is in it, what is not, and how to check it without trusting who made it.

Here too: random samples of an evaluation, drawn by the digest of the signed certificate: nobody picks them by hand.

Of each suite, condition and set of controls the replies are ranked by the sha256 of the certificate's digest and their
own place, and the first are taken. Whoever holds the outcomes can draw them again.
"""

from __future__ import annotations

import heapq
import io
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from recert.digest import canonical_json, sha256_bytes, sha256_file
from recert.errors import InputError, RecordError, StoreError
from recert.evaluation.report.folder import EvaluationFolder, Texts
from recert.evaluation.report.summary import plain
from recert.evaluation.stage import OUTCOMES_FILE, REPORT_FILE
from recert.interop.exports.formats import json_text
from recert.records.data.suite import Suite
from recert.records.record import parse_json
from recert.records.reports.evaluation import Outcome
from recert.records.signed.bundle import BundledFile, EvidenceBundle, SampledGroup
from recert.records.signed.certificate import Certificate
from recert.store.files.writing import read_bytes, write_atomic
from recert.workflows.certificates.source import SignedCertificate

SAMPLES: Final = 5
"""Of each evaluation at least. Source: EU General-Purpose AI Code of Practice, Safety and Security, measure 7.3."""

_Group = tuple[str, str, tuple[str, ...]]
_Place = tuple[str, str, str, int]


@dataclass(frozen=True)
class Draw:
    """The samples as JSON lines, and what they were drawn from."""

    lines: bytes
    groups: tuple[SampledGroup, ...]


@dataclass(order=True)
class _Ranked:
    """One reply with the negative of its rank: the heap's first is the one to give up."""

    rank: int
    outcome: Outcome = field(compare=False)


def draw_samples(
    outcomes: Callable[[], Iterable[Outcome]], *, certificate_sha256: str, texts: Texts, size: int = SAMPLES
) -> Draw:
    """
    Return `size` replies of each evaluation with the base's reply to the same prompt.

    Args:
        outcomes: gives every outcome, each time it is called.
        certificate_sha256: what draws.
        texts: the prompts' texts, where they are known.
        size: replies of each suite, condition and set of controls; all of them where there are fewer.

    Raises:
        RecordError, StoreError: the outcomes cannot be read.
    """
    kept: dict[_Group, list[_Ranked]] = {}
    seen: Counter[_Group] = Counter()
    for outcome in outcomes():
        if outcome.arm != "tuned":
            continue
        group = (outcome.suite, outcome.condition, outcome.safeguards)
        seen[group] += 1
        heap = kept.setdefault(group, [])
        one = _Ranked(-rank(certificate_sha256, outcome), outcome)
        if len(heap) < size:
            heapq.heappush(heap, one)
        else:
            heapq.heappushpop(heap, one)
    drawn = {g: [r.outcome for r in sorted(heap, reverse=True)] for g, heap in sorted(kept.items())}
    of_base = _base_replies(outcomes(), {_place(o) for chosen in drawn.values() for o in chosen})
    return Draw(
        lines=b"".join(_lines(drawn, of_base, texts)),
        groups=tuple(
            SampledGroup(suite=g[0], condition=g[1], safeguards=g[2], replies=seen[g], drawn=len(chosen))
            for g, chosen in drawn.items()
        ),
    )


def rank(certificate_sha256: str, outcome: Outcome) -> int:
    """Return a reply's rank, a number of 256 bits: the smallest of a group are its samples."""
    place = [*_place(outcome), *outcome.safeguards]
    return int(sha256_bytes(canonical_json([certificate_sha256, *place])), 16)


def _place(outcome: Outcome) -> _Place:
    return (outcome.suite, outcome.condition, outcome.prompt_id, outcome.sample)


def _base_replies(outcomes: Iterable[Outcome], wanted: set[_Place]) -> dict[_Place, Outcome]:
    return {_place(o): o for o in outcomes if o.arm == "base" and _place(o) in wanted}


def _lines(
    drawn: Mapping[_Group, list[Outcome]], of_base: Mapping[_Place, Outcome], texts: Texts
) -> Iterator[bytes]:
    for (suite, condition, safeguards), chosen in drawn.items():
        for tuned in chosen:
            prompt = texts.prompt(suite, tuned.prompt_id)
            base = of_base.get(_place(tuned))
            value: dict[str, Any] = {
                "suite": suite,
                "condition": condition,
                "safeguards": list(safeguards),
                "prompt_id": tuned.prompt_id,
                "sample": tuned.sample,
                "tuned": _reply(tuned),
            }
            if prompt is not None:
                value["prompt"] = prompt.text
            if base is not None:
                value["base"] = _reply(base)
            yield canonical_json(value) + b"\n"


def _reply(outcome: Outcome) -> dict[str, Any]:
    said = outcome.model_dump(mode="json", exclude_none=True)
    reply = str(said["reply"]).encode("utf-8", "replace").decode()
    return {"reply": reply} | {k: said[k] for k in ("scores", "state", "failed", "stop_reason") if k in said}


_ABOUT = {
    "certificate.json": "the certificate: an in-toto statement in a DSSE envelope, with its signatures",
    "eval-report.json": "the evaluation: every rule, both arms, intervals, judges, limitations",
    "outcomes.jsonl": "every reply of both arms as judged, one a line; harmful replies redacted",
    "samples.jsonl": "random samples of every evaluation, one a line, the base's reply beside the tuned model's",
    "sign-off.html": "the certificate as a page to print",
    "tune-report.json": "what was trained, on what, how",
    "screen-report.json": "which tuning rows may be learned from",
    "watch-report.json": "the clean watch behind a renewal",
    "trigger-search-report.json": "the search for triggers",
    "base-stress-report.json": "how the base stands up to attack tuning",
    "attacker-report.json": "what attackers that converse came to",
}


def bundle_readme(bundle: EvidenceBundle) -> str:
    """Return the bundle's README as Markdown."""
    return "\n".join([*_head(bundle), *_contents(bundle), *_checking(bundle), *_samples(bundle)]) + "\n"


def _head(bundle: EvidenceBundle) -> Iterator[str]:
    yield f"# {plain(f'Evidence of the certificate {bundle.serial}')}"
    yield ""
    yield f"{plain(f'Model: {bundle.model_name}')}. Certificate sha256: `{bundle.certificate_sha256}`."
    yield f"When this bundle was made: {bundle.signatures}."
    yield ""
    if bundle.revealed:
        yield "**HARMFUL REPLIES ARE SHOWN.** Whoever made this bundle asked for them (`--reveal`): `samples.jsonl`"
        yield "holds replies that were judged harmful, in full. Keep it where only those read it who must."
    else:
        yield "Harmful replies are redacted: in their place stands `[redacted: judged harmful, sha256 ...]` with the"
        yield "digest of the reply, so that whoever holds the replies can show which one it was."
    yield ""


def _contents(bundle: EvidenceBundle) -> Iterator[str]:
    yield "## What is in it"
    yield ""
    yield "| file | what it is | its digest is in the certificate as |"
    yield "|---|---|---|"
    for file in bundle.files:
        yield f"| `{file.name}` | {_ABOUT.get(file.name, 'added by whoever made the bundle')} | {_named(file)} |"
    yield "| `MANIFEST.json` | this list for programs | |"
    yield "| `SHA256SUMS` | the digests of all files | |"
    yield ""
    for name in bundle.missing:
        yield f"- Not in the bundle: the report that the certificate names as `{name}`."
    yield ""


def _named(file: BundledFile) -> str:
    return f"`{file.named_as}`" if file.named_as else ""


def _checking(bundle: EvidenceBundle) -> Iterator[str]:
    yield "## How to check it"
    yield ""
    yield "1. That no file was changed since: `sha256sum -c SHA256SUMS`."
    yield "2. That the certificate is the one you mean: `sha256sum certificate.json` says"
    yield f"   `{bundle.certificate_sha256}`."
    yield "3. That the certificate is true. Get the signers' public keys and the newest status list from those who"
    yield "   publish them, and the model's files; then"
    yield "   `recert verify certificate.json --base BASE --model TUNED --trust KEYS --status status.json`."
    yield "4. That the evidence is the certificate's. In its payload (base64, JSON) the fields named above hold these"
    yield "   digests; the command prints them:"
    yield ""
    yield "   ```bash"
    yield (
        '   python3 -c "import base64, json; '
        "print(json.dumps(json.loads(base64.b64decode(json.load(open('certificate.json'))['payload']))['predicate'], "
        'indent=1))" | grep _sha256'
    )
    yield "   sha256sum eval-report.json outcomes.jsonl"
    yield "   ```"
    yield ""


def _samples(bundle: EvidenceBundle) -> Iterator[str]:
    yield "## The samples"
    yield ""
    yield f"{bundle.samples_each} replies of each suite, condition and set of controls; all where there are fewer."
    yield "The certificate drew them: a reply's rank is the sha256 of the canonical JSON (RFC 8785) of the list"
    yield "`[certificate sha256, suite, condition, prompt_id, sample, each control]`, and the smallest ranks are"
    yield "taken. That digest is known only when everyone has signed. Draw them again from `outcomes.jsonl` to check."
    yield ""
    yield "| suite | condition | behind | replies | drawn |"
    yield "|---|---|---|--:|--:|"
    for group in bundle.groups:
        cells = (plain(group.suite), plain(group.condition), plain(", ".join(group.safeguards)))
        yield f"| {' | '.join(cells)} | {group.replies} | {group.drawn} |"


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
