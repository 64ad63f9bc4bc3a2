"""Why a report or a certificate does not follow from the outcomes that it names: every difference, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from recert.digest import sha256_file
from recert.errors import RecertError
from recert.evaluation.decision.derive import derive
from recert.evaluation.labels.files import read_labels
from recert.evaluation.report.outcomes import read_outcomes
from recert.evaluation.scoring import EXACT, FORBIDDEN, LIKELIHOOD, Judges
from recert.judges.embedded.coherence import CoherenceJudge
from recert.judges.embedded.refusal import RefusalJudge
from recert.judges.embedded.self_jailbreak import SelfJailbreakJudge
from recert.judges.embedded.trace_refusal import TraceRefusalJudge
from recert.judges.harm import ComplianceJudge
from recert.policy import Policy, suites_not_pinned
from recert.records.data.suite import Suite
from recert.records.reports.evaluation import EvalReport, JudgeNote, RuleResult
from recert.records.signed.certificate import Certificate, SuiteNote

CODE: Final = "verdict-not-derived"
_SAME: Final = 1e-9
"""Relative difference of two numbers that another machine's arithmetic can make."""
_IN_REPORTS: Final = (
    "policy_id", "policy_version", "policy_sha256", "suites", "suite_sizes", "suites_alike", "sampling", "rules",
    "slices", "verdict_raw", "verdict_safeguarded", "required_controls", "modalities", "judges", "labels", "samples",
    "outcomes_sha256", "reasons", "limitations",
)  # fmt: skip
_IN_CERTIFICATES: Final = (
    "policy_id", "policy_version", "policy_sha256", "suites", "sampling", "results", "verdict_raw",
    "verdict_safeguarded", "required_controls", "judges", "labels", "evidence_sha256", "limitations",
)  # fmt: skip


def why_not_derived(
    report: EvalReport, outcomes_path: Path, *, policy: Policy, suites: Mapping[str, Suite]
) -> tuple[str, ...]:
    """
    Return every difference between a report and what follows from its outcomes; empty where there is none.

    Each is `verdict-not-derived: words`, or `suite-not-pinned: words`. What cannot be read or asked is a reason too.

    Args:
        report: what was said.
        outcomes_path: the file of outcomes that it names.
        policy: the one that decided.
        suites: the prompts, by name; `find_suites` finds them.
    """
    return tuple(_why_not(report, report, outcomes_path, policy, suites))


def why_certificate_not_derived(
    certificate: Certificate,
    outcomes_path: Path,
    *,
    policy: Policy,
    suites: Mapping[str, Suite],
    report: EvalReport | None = None,
) -> tuple[str, ...]:
    """
    Return every difference between what a certificate holds and what follows from the outcomes that it names.

    Args:
        certificate: what was said.
        outcomes_path: the file of outcomes that it names.
        policy: the one that decided.
        suites: the prompts, by name.
        report: the evaluation report that the certificate names, where it is at hand. A policy that serves audio needs
            it: it says how well what was spoken was heard.
    """
    if report is not None and report.digest != certificate.eval_report_sha256:
        return (f"{CODE}: the report is not the one that the certificate names",)
    if report is None and policy.evaluation.spoken:
        return (f"{CODE}: requests were spoken, and without its report nobody can tell how they were heard",)
    if certificate.suites is None:
        return (f"{CODE}: the certificate does not say which prompts were asked",)
    return tuple(_why_not(_as_report(certificate, report), certificate, outcomes_path, policy, suites))


def _why_not(
    report: EvalReport,
    said: EvalReport | Certificate,
    path: Path,
    policy: Policy,
    suites: Mapping[str, Suite],
) -> Iterator[str]:
    yield from suites_not_pinned(policy, report.suites)
    early = [*_of_another_policy(report, policy), *_unlike(report, policy, suites), *_unjudged(report.judges)]
    yield from (f"{CODE}: {words}" for words in early)
    if early:
        return
    try:
        if sha256_file(path) != report.outcomes_sha256:
            yield f"{CODE}: the outcomes on disk are not those that are named, sha256:{report.outcomes_sha256}"
        labels = read_labels(path.parent, report.labels)
        found = derive(
            read_outcomes(path),
            policy=policy,
            suites=suites,
            judges=report.judges,
            report=report,
            labels=labels,
        ).report
    except RecertError as exc:
        facts = "".join(f"; {name}: {value}" for name, value in exc.facts.items())
        yield f"{CODE}: {exc.message}{facts}"
        return
    names = _IN_REPORTS if isinstance(said, EvalReport) else _IN_CERTIFICATES
    shown: dict[str, Any] = {name: getattr(found, name) for name in _IN_REPORTS}
    shown |= {"results": found.rules, "evidence_sha256": found.outcomes_sha256}
    if isinstance(said, Certificate):
        shown["suites"] = _noted(found)
    for name in names:
        yield from (f"{CODE}: {words}" for words in _differences(name, getattr(said, name), shown[name]))
    yield from (f"{CODE}: {words}" for words in _miscounted(report, path))


def _of_another_policy(report: EvalReport, policy: Policy) -> Iterator[str]:
    if report.policy_sha256 != policy.digest:
        yield f"it was decided under policy sha256:{report.policy_sha256}, not sha256:{policy.digest}"


def _unlike(report: EvalReport, policy: Policy, suites: Mapping[str, Suite]) -> Iterator[str]:
    """Suites that are missing, or are others than those that were asked."""
    if report.suite_sizes is None or set(report.suite_sizes) != set(report.suites):
        yield "the report does not say how many prompts each suite has: evaluate again"
    for name, sha256 in sorted(report.suites.items()):
        suite = suites.get(name)
        if suite is None or suite.digest != sha256:
            yield f"the prompts of suite {name}, sha256:{sha256}, are not at hand: give --suite {name}=FILE"
    for name in sorted({rule.suite for rule in policy.rules} - set(report.suites)):
        yield f"suite {name}, which the policy's rules are about, was not asked"
    section = policy.certification.carry_over
    carried = {result.suite for result in report.rules if result.carried_from is not None}
    for name in sorted(carried - set(section.suites if section is not None else ())):
        yield f"results on suite {name} are carried over, which the policy does not allow"


def _unjudged(notes: Sequence[JudgeNote]) -> Iterator[str]:
    """Judges that are missing, or go by the name of one that comes with Recert and are another."""
    if len(notes) < len(Judges().notes) or EXACT not in notes:
        yield "the judges are not all named"
    ours = (RefusalJudge().note, CoherenceJudge().note, TraceRefusalJudge().note, SelfJailbreakJudge().note)
    shipped = {note.id: note for note in (*ours, EXACT, LIKELIHOOD, FORBIDDEN)}
    measured_by_others = ComplianceJudge().note
    for note in notes:
        own = shipped.get(note.id)
        if own is not None and note != own:
            yield f"judge {note.id} {note.version} is not the one that comes with Recert under that name"
        if note.id == measured_by_others.id and note.digest != measured_by_others.digest:
            yield f"judge {note.id} {note.version} is not the one that comes with Recert under that name"


def _as_report(certificate: Certificate, report: EvalReport | None) -> EvalReport:
    """A report that says what a certificate says, and nothing of what it leaves out."""
    suites = certificate.suites or ()
    return EvalReport(
        model_name=certificate.model_name,
        base=certificate.base,
        tuned=certificate.tuned,
        policy_id=certificate.policy_id,
        policy_version=certificate.policy_version,
        policy_sha256=certificate.policy_sha256,
        suites={note.name: note.sha256 for note in suites},
        suite_sizes={note.name: note.prompts for note in suites},
        engine=certificate.engine or "",
        sampling=certificate.sampling or {},
        rules=certificate.results,
        verdict_raw=certificate.verdict_raw,
        verdict_safeguarded=certificate.verdict_safeguarded,
        required_controls=certificate.required_controls,
        secret_sha256=certificate.secret_sha256,
        hearing=report.hearing if report is not None else None,
        trigger_search=certificate.trigger_search,
        carried=certificate.carried,
        attempt=certificate.attempt,
        arms=(),
        judges=certificate.judges,
        labels=certificate.labels,
        outcomes_sha256=certificate.evidence_sha256,
        prompts_asked=certificate.replies or {},
        limitations=certificate.limitations,
        seconds=0,
        versions={},
        started_at=certificate.certified_at,
        evaluated_at=certificate.certified_at,
    )


def _noted(report: EvalReport) -> tuple[SuiteNote, ...]:
    return SuiteNote.of(report.suites, report.suite_sizes or {}, report.rules)


def _miscounted(report: EvalReport, path: Path) -> Iterator[str]:
    """Arms of which more replies are said to have been got than there are outcomes, or none at all."""
    there = {"base": 0, "tuned": 0}
    for outcome in read_outcomes(path):
        there[outcome.arm] += 1
    for arm, outcomes in there.items():
        said = [report.prompts_asked.get(f"{arm}_{how}", 0) for how in ("made", "cached")]
        if min(said) < 0 or not min(outcomes, 1) <= sum(said) <= outcomes:
            yield f"{sum(said)} replies of the {arm} are counted, and there are {outcomes} outcomes"


def _differences(name: str, said: Any, found: Any) -> Iterator[str]:
    """Where two values of a field differ, in words."""
    if name in ("rules", "results"):
        yield from _of_results(said, found)
    elif not _same(said, found):
        yield f"{name} is {_short(said)}, from the outcomes follows {_short(found)}"


def _of_results(said: Sequence[RuleResult], found: Sequence[RuleResult]) -> Iterator[str]:
    keys, wanted = [_key(one) for one in said], [_key(one) for one in found]
    yield from (f"the result of {_words(key)} is not there" for key in wanted if key not in keys)
    yield from (f"the result of {_words(key)} follows from nothing" for key in keys if key not in wanted)
    if keys != wanted:
        if sorted(keys) == sorted(wanted) or len(set(keys)) != len(keys):
            yield "results are repeated or in another order"
        return
    for key, one, other in zip(keys, said, found, strict=True):
        for field in dict.fromkeys([*_fields(one), *_fields(other)]):
            before, after = _fields(one).get(field), _fields(other).get(field)
            if not _same(before, after):
                yield f"{_words(key)}: {field} is {_short(before)}, from the outcomes follows {_short(after)}"


def _key(result: RuleResult) -> tuple[str, str, str, str, tuple[str, ...]]:
    return result.rule_id, result.suite, result.condition, result.category, result.safeguards


def _words(key: tuple[str, str, str, str, tuple[str, ...]]) -> str:
    rule, suite, condition, category, safeguards = key
    of = f" of {category}" if category else ""
    return f"{rule} on {suite}{of} under {' behind '.join([condition, *safeguards])}"


def _fields(result: RuleResult) -> dict[str, Any]:
    return {**dict(result), **(result.model_extra or {})}


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same, numbers up to what another machine's arithmetic makes of them."""
    if hasattr(one, "model_dump") and type(one) is type(other):
        return _same(one.model_dump(), other.model_dump())
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=_SAME)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
