"""What went into a step and what came out of it, by the report that it made: the rules of `spec/links.md`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from recert.digest import sha256_bytes, sha256_json
from recert.errors import InputError
from recert.records.data.manifest import Manifest
from recert.records.live.watching import WatchReport
from recert.records.record import Record
from recert.records.reports.attack_report import AttackReport
from recert.records.reports.evaluation import EvalReport, JudgeNote
from recert.records.reports.qualification import Qualification
from recert.records.reports.screening import ScreenReport
from recert.records.reports.stress import StressReport
from recert.records.reports.tuning import TuneReport
from recert.records.signed.certificate import Step

Digests = dict[str, str]
"""The sha256 of materials or products, by name."""


def step_of(report: Record) -> Step:
    """
    Return the step that makes a report of this kind.

    Raises:
        InputError: none does.
    """
    return _kind_of(report)[0]


def what_went_in(report: Record) -> tuple[Digests, Digests]:
    """
    Return the materials and the products of the step that made a report, by the rules of `spec/links.md`.

    Raises:
        InputError: no step makes such a record.
    """
    _, name, gather = _kind_of(report)
    materials, products = gather(report)
    return materials, {name: report.digest, **products}


def _screen(report: ScreenReport) -> tuple[Digests, Digests]:
    made = {"accepted.jsonl": report.accepted_sha256}
    if report.accepted_rows_sha256 is not None:
        made["accepted-rows"] = report.accepted_rows_sha256
    return {"rows": report.source_sha256, "policy": report.policy_sha256}, made


def _tune(report: TuneReport) -> tuple[Digests, Digests]:
    given = _files("base", report.base)
    if report.held_out is not None:
        given |= {
            "accepted-rows": report.held_out.of_rows_sha256,
            "held-out-rows": report.held_out.rows_sha256,
        }
    elif report.accepted_sha256 is not None:
        given["accepted-rows"] = report.accepted_sha256
    if report.screen_report_sha256 is not None:
        given["screen-report.json"] = report.screen_report_sha256
    return given, _files("tuned", report.tuned)


def _evaluate(report: EvalReport) -> tuple[Digests, Digests]:
    given = {"policy": report.policy_sha256, "judges": _judges(report.judges)}
    given |= _suites(report.suites)
    for arm, manifest in (("base", report.base), ("tuned", report.tuned)):
        given |= _files(arm, manifest)
    given |= {
        f"endpoint/{one.arm}": sha256_bytes(one.endpoint.encode()) for one in report.arms if one.endpoint
    }
    if report.labels is not None:
        given["labels.json"] = report.labels.labels_sha256
    made = {"outcomes.jsonl": report.outcomes_sha256}
    if report.trigger_search is not None:
        made["hunt-report.json"] = report.trigger_search.report_sha256
    return given, made


def _watch(report: WatchReport) -> tuple[Digests, Digests]:
    return {"certificate": report.certificate_sha256}, {}


def _stress(report: StressReport) -> tuple[Digests, Digests]:
    given = {"policy": report.policy_sha256, "judges": _judges(report.judges)}
    given |= _suites(report.suites) | _files("base", report.base)
    if report.payload_sha256 is not None:
        given["payload"] = report.payload_sha256
    return given, {"trials": report.trials_sha256}


def _attack(report: AttackReport) -> tuple[Digests, Digests]:
    given = {"policy": report.policy_sha256, "judges": _judges(report.judges), "items": report.items_sha256}
    given |= _files("base", report.base) | _files("tuned", report.tuned)
    return given, {"conversations": report.conversations_sha256}


def _qualify(report: Qualification) -> tuple[Digests, Digests]:
    given = {"policy": report.policy_sha256, "judges": _judges(report.judges)}
    return given | _suites(report.suites) | _files("base", report.base), {}


_KINDS: Final[Mapping[type[Record], tuple[Step, str, Callable[[Any], tuple[Digests, Digests]]]]] = {
    ScreenReport: ("screen", "screen-report.json", _screen),
    TuneReport: ("tune", "tune-report.json", _tune),
    EvalReport: ("evaluate", "eval-report.json", _evaluate),
    WatchReport: ("watch", "watch-report.json", _watch),
    StressReport: ("stress", "stress-report.json", _stress),
    AttackReport: ("attack", "attack-report.json", _attack),
    Qualification: ("qualify", "qualification.json", _qualify),
}


USUAL_NAMES: Final = {step: name for step, name, _ in _KINDS.values()}
"""What a step calls its report."""


def _kind_of(report: Record) -> tuple[Step, str, Callable[[Any], tuple[Digests, Digests]]]:
    kind = _KINDS.get(type(report))
    if kind is None:
        raise InputError("no step makes such a record", facts={"record": type(report).__name__})
    return kind


def _files(arm: str, manifest: Manifest | None) -> Digests:
    return {f"{arm}/{file.name}": file.sha256 for file in manifest.files} if manifest is not None else {}


def _suites(suites: Mapping[str, str]) -> Digests:
    return {f"suites/{name}": sha256 for name, sha256 in suites.items()}


def _judges(notes: tuple[JudgeNote, ...]) -> str:
    return sha256_json([note.model_dump(mode="json", exclude_none=True) for note in notes])
