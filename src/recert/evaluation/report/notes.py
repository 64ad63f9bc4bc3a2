"""What imported results and comparisons say, in the few words of an `EvidenceNote`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from recert.errors import RecordError
from recert.records.record import parse_json
from recert.records.reports.comparison import Comparison
from recert.records.reports.evaluation import Estimand, Verdict
from recert.records.reports.evidence import EvidenceNote
from recert.records.reports.imported import ImportedOutcome, ImportedResults
from recert.records.signed.model_signature import ModelSignature


def read_evidence(data: bytes) -> EvidenceNote:
    """
    Return the note of a record that `recert import` or `recert compare --json` wrote.

    Raises:
        RecordError: it is neither.
    """
    try:
        value = parse_json(data)
        fields = value if isinstance(value, dict) else {}
        if "bundle_sha256" in fields:
            return signature_note(ModelSignature.from_json(data))
        kind: Any = Comparison if "compared_at" in fields else ImportedResults
        return evidence_note(kind.from_json(data))
    except RecordError as exc:
        raise RecordError(
            "not evidence", facts=exc.facts, hint="run `recert import` on the other tool's file first"
        ) from exc


def evidence_note(record: ImportedResults | Comparison) -> EvidenceNote:
    """Return what results of another tool say of a model: rates, what was lost, and the change where two are paired."""
    if isinstance(record, Comparison):
        return EvidenceNote(
            tool=record.b.tool,
            version=record.b.tool_version,
            source_sha256=record.b.sha256,
            model_name=record.b.name,
            n=max((rule.change.n for rule in record.rules), default=0),
            says="; ".join(_changes(record)),
        )
    return EvidenceNote(
        tool=record.tool,
        version=record.tool_version,
        source_sha256=record.source_sha256,
        model_name=record.model_name,
        n=len(record.outcomes),
        says="; ".join([*_rates(record), *_lost(record)]) or "nothing",
    )


def signature_note(signature: ModelSignature) -> EvidenceNote:
    """Return what a verified signature of the base says: by which key, over how many of its files."""
    said = f"signed by key sha256:{signature.key_sha256} as {signature.signed_name!r}"
    if signature.not_covered:
        said += f"; not covered: {', '.join(signature.not_covered)}"
    return EvidenceNote(
        tool="OpenSSF model signing",
        source_sha256=signature.bundle_sha256,
        model_name=signature.signed_name,
        n=signature.covered,
        counts="files",
        manifest_sha256=signature.model.digest,
        says=said,
    )


def _rates(results: ImportedResults) -> Iterator[str]:
    """The rate of each estimand, and where it is highest."""
    scored: dict[Estimand, list[ImportedOutcome]] = defaultdict(list)
    for outcome in results.outcomes:
        for estimand in outcome.scores:
            scored[estimand].append(outcome)
    for estimand, outcomes in sorted(scored.items()):
        groups: dict[tuple[str, str], list[float]] = defaultdict(list)
        for outcome in outcomes:
            groups[outcome.suite, outcome.condition].append(outcome.scores[estimand])
        rate = math.fsum(o.scores[estimand] for o in outcomes) / len(outcomes)
        said = f"{estimand} {rate:.2f} on {len(outcomes)} of {len(results.outcomes)}"
        if len(groups) > 1:
            (suite, condition), worst = max(
                groups.items(), key=lambda group: math.fsum(group[1]) / len(group[1])
            )
            said += f", worst {math.fsum(worst) / len(worst):.2f} on {suite} under {condition}"
        yield said


def _lost(results: ImportedResults) -> Iterator[str]:
    unscored = sum(not outcome.scores for outcome in results.outcomes)
    if unscored:
        yield f"{unscored} replies without a score"
    if results.unread:
        yield f"{results.unread} entries could not be read"


def _changes(comparison: Comparison) -> Iterator[str]:
    yield f"paired with {comparison.a.name} it is {comparison.verdict}"
    worst = sorted(comparison.rules, key=lambda rule: -rule.change.point)
    for rule in [r for r in worst if r.verdict is not Verdict.PASS][:3]:
        yield f"{rule.estimand} on {rule.suite} under {rule.condition} {rule.change}: {rule.verdict}"
