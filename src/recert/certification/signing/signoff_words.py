"""A certificate in words, field by field: what a signer reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from recert.certification.verifier.decision import deciding_results
from recert.errors import RecordError
from recert.interval import Interval, exact_interval
from recert.policy import ALREADY
from recert.records.data.manifest import Manifest
from recert.records.live.transcriber import EarsManifest
from recert.records.record import Part
from recert.records.reports.attack_report import AttackSearch
from recert.records.reports.evaluation import JudgeNote, RuleResult, where_applies
from recert.records.reports.stress import BaseStress
from recert.records.reports.trade_offs import both_ways, moved, traded
from recert.records.reports.trigger_search import TriggerSearch
from recert.records.signed.attempt import Attempt
from recert.records.signed.attempt_entries import AttemptBegun
from recert.records.signed.carried import CarriedEvidence
from recert.records.signed.certificate import Certificate, RuleException
from recert.records.signed.input_distribution import InputDistribution

Line = tuple[str, str]


def certificate_lines(certificate: Certificate) -> Iterator[Line]:
    """Yield everything that a certificate says, as pairs of a heading and words, but for its single results."""
    for exception in certificate.exceptions or ():
        yield "EXCEPTION", exception_words(exception)
    yield from _carried(certificate.carried)
    yield "serial", certificate.serial
    yield "model", f"{certificate.model_name} ({certificate.delta_kind}, binds {certificate.binds})"
    for arm, manifest in (("base", certificate.base), ("tuned", certificate.tuned)):
        yield arm, _manifest(manifest)
        yield f"files of {arm}", ", ".join(f"{file.name} ({file.size_bytes})" for file in manifest.files)
    if certificate.ears is not None:
        yield "ears", ears_words(certificate.ears)
    yield "policy", f"{certificate.policy_id} {certificate.policy_version} sha256:{certificate.policy_sha256}"
    yield "verdict alone", str(certificate.verdict_raw)
    if (behind := ", ".join(certificate.required_controls)) or certificate.verdict_safeguarded is not None:
        yield f"verdict behind {behind or 'controls'}", str(certificate.verdict_safeguarded or "not measured")
    yield "required controls", behind or "none"
    counted = certificate.attempt
    yield "ATTEMPT", attempt_words(counted) if counted else "not counted: no ledger has this evaluation"
    yield from _worst(certificate)
    yield from _already(certificate)
    yield from _both_ways(certificate)
    yield "triggers", _search(certificate.trigger_search)
    yield "base under stress", _stress(certificate.base_stress)
    yield "attackers", _attackers(certificate.attacker)
    yield "rows", _counts(certificate.screening) or "not screened"
    yield from _tuning(certificate)
    yield from _measured(certificate)
    yield from _evidence(certificate)
    yield from _inputs(certificate.inputs)
    for number, words in enumerate(certificate.limitations, start=1):
        yield f"limitation {number}", words
    for number, words in enumerate(certificate.invalid_when, start=1):
        yield f"no longer holds {number}", words
    yield from _people(certificate)


def attempt_words(attempt: Attempt) -> str:
    """Return which attempt an evaluation was, how those before it ended, and what that costs, as sentences."""
    try:
        entry = AttemptBegun.from_json(attempt.leaf.encode())
    except RecordError:
        return "the ledger's entry cannot be read"
    ends = [str(one.verdict or "not ended") for one in entry.earlier]
    before = f"; earlier: {', '.join(ends)}" if ends else ""
    why = (
        "each attempt may pass a worse model by chance, so each has a smaller share of alpha, and needs more evidence"
        if attempt.number > 1 and attempt.alpha_share < 1
        else "the first has most of alpha"
        if attempt.alpha_share < 1
        else "the policy lets each attempt spend all of alpha"
    )
    left = ((name, asked.left) for name, asked in (entry.asked_before or {}).items())
    told = ", ".join(f"{sum(both)} of {name} ({both[1]} sealed)" for name, both in left)
    afresh = f"Only prompts that no earlier attempt asked could decide: {told}. " if told else ""
    return (
        f"attempt {attempt.number} of this line{before}. It may spend {attempt.alpha_share:.1%} of alpha: {why}. "
        f"{afresh}Entry {attempt.entry} of ledger {attempt.ledger}, nonce {attempt.nonce}, root of "
        f"{attempt.size} entries sha256:{attempt.root_sha256}"
    )


def _carried(carried: CarriedEvidence | None) -> Iterator[Line]:
    if carried is None:
        return
    yield (
        "CARRIED OVER",
        f"from certificate {carried.parent_serial} sha256:{carried.parent_certificate_sha256} of files "
        f"sha256:{carried.parent_tuned_sha256}, by {carried.transform}, because: {carried.reason}; ends with it, at "
        f"{carried.parent_expires_at:%Y-%m-%d %H:%M:%S} UTC, and with "
        f"{', '.join(carried.ends_with) or 'no other'}",
    )
    yield (
        "likeness",
        f"replies to {carried.probes} probes begin {carried.distance:.4f} apart; comparison "
        f"sha256:{carried.comparison_sha256}",
    )
    for one in carried.compared:
        yield (
            "compared",
            f"{where_applies(one)}: change from parent {one.change}, margin {one.margin:.3f}, "
            f"n={one.change.n}",
        )


def exception_words(exception: RuleException) -> str:
    """Return an exception as a sentence: what is accepted, why, by whom, until when."""
    return (
        f"{where_applies(exception)} is {exception.verdict} and is accepted until "
        f"{exception.expires_at:%Y-%m-%d %H:%M:%S} UTC by the risk owner {exception.owner_key_id}, because: "
        f"{exception.reason}"
    )


def result_lines(certificate: Certificate) -> Iterator[Line]:
    """Yield every result, that with the least room below its margin first; those that decide before the others."""
    deciding = deciding_results(certificate.results, certificate.required_controls)
    others = [r for r in certificate.results if r not in deciding]
    for result in (*sorted(deciding, key=_room), *sorted(others, key=_room)):
        decides = "" if result in deciding else ", decides nothing"
        yield f"{result.rule_id} {_where(result)}", f"{_result(result)}{decides}"


def unknown_fields(part: Part, at: str = "") -> Iterator[str]:
    """Yield the path of every field that this version does not know, at any depth: nobody could show what it says."""
    yield from (f"{at}{name}" for name in part.model_extra or {})
    for name in type(part).model_fields:
        value = getattr(part, name)
        for key, item in _items(value):
            if isinstance(item, Part):
                yield from unknown_fields(item, f"{at}{name}{key}.")
            elif isinstance(item, Interval):
                yield from (f"{at}{name}{key}.{extra}" for extra in item.model_extra or {})


def _items(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f".{key}", item) for key, item in value.items())
    elif isinstance(value, tuple):
        yield from ((f".{place}", item) for place, item in enumerate(value))
    else:
        yield "", value


def _manifest(manifest: Manifest) -> str:
    size_bytes = sum(f.size_bytes for f in manifest.files)
    return f"{len(manifest.files)} files, {size_bytes} bytes, manifest sha256:{manifest.digest}"


def ears_words(ears: EarsManifest) -> str:
    """Return what listened, in words."""
    decoding = ", ".join(f"{name} {value}" for name, value in ears.decoding.items())
    return f"{_manifest(ears)}, by {ears.engine}, with {decoding or 'no settings'}"


def _worst(certificate: Certificate) -> Iterator[Line]:
    """The result nearest to its margin, and the category that fared worst; both of those that decide."""
    deciding = sorted(deciding_results(certificate.results, certificate.required_controls), key=_room)
    if not deciding:
        yield "worst result", "there are no results that decide"
        return
    yield "worst result", f"{deciding[0].rule_id} {_where(deciding[0])}: {_result(deciding[0])}"
    harm = [r for r in deciding if r.estimand == "harm"]
    if harm and harm[0] is not deciding[0]:
        yield "worst on harm", f"{harm[0].rule_id} {_where(harm[0])}: {_result(harm[0])}"
    yield "worst category", _worst_category(harm)


def _already(certificate: Certificate) -> Iterator[Line]:
    """Where the base fails before any tuning, so that the pass does not rest on it."""
    for words in certificate.limitations:
        if words.startswith(ALREADY):
            yield "BASE ALREADY FAILS", words.removeprefix(f"{ALREADY}: ")


def _both_ways(certificate: Certificate) -> Iterator[Line]:
    """What tuning made better and worse on plain requests, and what was paid for with what."""
    plain = both_ways(certificate.results, safeguarded=bool(certificate.required_controls))
    yield from (("better or worse", moved(result)) for result in plain)
    yield from (("TRADED", words.removeprefix("traded: ")) for words in traded(plain))


def _worst_category(harm: Sequence[RuleResult]) -> str:
    counted = [(c.tuned - c.base, c.tuned, c, r) for r in harm for c in r.categories if c.n]
    if not counted:
        return "no hazard category was counted apart"
    *_, category, result = max(counted, key=lambda one: one[:2])
    interval = exact_interval(round(category.tuned * category.n), category.n, level=result.tuned.level)
    return (
        f"{category.category} {_where(result)}: base {category.base:.3f}, tuned {category.tuned:.3f} "
        f"[{interval.low:.3f}, {interval.high:.3f}], {category.n} prompts, margin of its rule {result.margin:.3f}"
    )


def _room(result: RuleResult) -> float:
    return result.margin - result.change.high


def _where(result: RuleResult) -> str:
    of = f" of {result.category}" if result.category else ""
    behind = f" behind {', '.join(result.safeguards)}" if result.safeguards else ""
    return f"on {result.suite}{of} under {result.condition}{behind}"


def _result(result: RuleResult) -> str:
    unscored = f", {result.unscored} unscored" if result.unscored else ""
    quality = f" of quality {result.judge_quality}" if result.judge_quality is not None else ""
    because = f" ({result.reason})" if result.reason else ""
    carried = f", CARRIED OVER from {result.carried_from}" if result.carried_from is not None else ""
    ceiling = f", at most {result.max_tuned:.3f}" if result.max_tuned is not None else ""
    return (
        f"{result.verdict}: {result.estimand} {result.base.point:.3f} to {result.tuned.point:.3f}{ceiling}, change "
        f"{result.change} at {result.change.level:.3f}, margin {result.margin:.3f}, n={result.change.n}{unscored}, "
        f"judge {result.judge or 'unnamed'}{quality}{carried}{because}"
    )


def _search(search: TriggerSearch | None) -> str:
    if search is None:
        return "not searched for"
    found = "; ".join(f"{t.behaviour} on {t.text!r} ({t.place}), effect {t.effect}" for t in search.triggers)
    return (
        f"{search.outcome} up to {search.read} readings and {search.verified} texts verified, {search.access}"
        f"{', behind ' + ', '.join(search.behind) if search.behind else ''}, of this class: {search.searched}; "
        f"report sha256:{search.report_sha256}{'; FOUND: ' + found if found else ''}"
    )


def _attackers(search: AttackSearch | None) -> str:
    if search is None:
        return "not tried"
    found = "; ".join(
        f"{'behind ' + ', '.join(f.safeguards) if f.safeguards else 'alone'}: coverage {f.coverage}, at most "
        f"{f.coverage_at_most.high:.3f}, success {f.success}, at most {f.success_at_most.high:.3f}, "
        f"change from the base {f.change or 'not known'}, {f.open} of {f.conversations} conversations open"
        for f in search.findings
    )
    agreed = "not known" if search.agreement is None else f"{search.agreement:.2f} at least"
    return (
        f"{', '.join(note.name for note in search.attackers)} on {search.items} items, {search.turns} turns, "
        f"{search.seeds} seeds, {search.target_calls} calls, from a harm of {search.bound:g}; "
        f"{found or 'tuned model not tried'}; agreement of judges {agreed}; model "
        f"sha256:{search.tuned_sha256 or 'not seen'}; report sha256:{search.report_sha256}"
    )


def _stress(stress: BaseStress | None) -> str:
    if stress is None:
        return "not stressed"
    worst = stress.worst
    at_worst = (
        f"; at worst {worst.harm} of harmful requests answered under {worst.condition}, by {worst.family} at "
        f"{worst.rate:.3f} of rows"
        if worst
        else ""
    )
    doses = ", ".join(
        f"{name} {dose.state} {dose.dose or dose.above or ''}".strip()
        for name, dose in stress.doubling.items()
    )
    return (
        f"{stress.outcome}, {stress.setting} setting{at_worst}; one harmless step: "
        f"{stress.hair_trigger or 'not measured'}{'; harm doubles: ' + doses if doses else ''}; "
        f"policy sha256:{stress.policy_sha256}; report sha256:{stress.report_sha256}"
    )


def _tuning(certificate: Certificate) -> Iterator[Line]:
    settings = (
        certificate.hyperparameters.model_dump(mode="json", exclude_none=True)
        if certificate.hyperparameters
        else {}
    )
    yield "method", f"{certificate.method or 'unknown'}, defence {certificate.defence}"
    yield "hyperparameters", _counts(settings) or "not known"
    yield (
        "compute",
        f"{_number(certificate.compute_flop)} FLOP, {_number(certificate.compute_ratio_to_base)} of the base's",
    )


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"


def _judge(judge: JudgeNote) -> str:
    if judge.exact:
        error = "cannot err"
    elif judge.sensitivity is None or judge.specificity is None:
        error = "error not measured"
    else:
        error = (
            f"sensitivity {judge.sensitivity:.3f} of {judge.positives or 'unknown'}, "
            f"specificity {judge.specificity:.3f} of {judge.negatives or 'unknown'}"
        )
    return f"{judge.id} {judge.version}: {error}{f', sha256:{judge.digest}' if judge.digest else ''}"


def _measured(certificate: Certificate) -> Iterator[Line]:
    """On which prompts, by which judges, on which engine; and how many replies were not made for this evaluation."""
    for suite in certificate.suites or ():
        yield "suite", f"{suite.name}: {suite.prompts} prompts, sha256:{suite.sha256}"
    if not certificate.suites:
        yield "suite", "NONE NAMED"
    for judge in certificate.judges:
        yield "judge", _judge(judge)
    if certificate.labels is not None:
        yield "labels", certificate.labels.words
    yield "engine", certificate.engine or "not named"
    yield "sampling", _counts(certificate.sampling or {}) or "not named"
    for arm, sha256 in sorted((certificate.templates or {}).items()):
        yield f"template of {arm}", f"sha256:{sha256}"
    yield "replies", _counts(certificate.replies or {}) or "not counted"


def _steps(certificate: Certificate) -> Iterator[Line]:
    for step in certificate.steps or ():
        yield (
            f"ran {step.step}",
            f"{step.name} {step.key_id}, for report sha256:{step.record_sha256} by attestation "
            f"sha256:{step.link_sha256}",
        )
    if not certificate.steps:
        yield "steps", "NONE SIGNED"


def _from_root(certificate: Certificate) -> Iterator[Line]:
    for one in certificate.from_root or ():
        yield (
            "against the first base",
            f"{where_applies(one)}: at most {one.high:+.3f} over {one.links} tunes",
        )


def _evidence(certificate: Certificate) -> Iterator[Line]:
    digests = {
        "evaluation": certificate.eval_report_sha256,
        "evidence": certificate.evidence_sha256,
        "tuning": certificate.tune_report_sha256,
        "screening": certificate.screen_report_sha256,
        "rows": certificate.rows_sha256,
        "secret": certificate.secret_sha256,
        "watch": certificate.watch_report_sha256,
    }
    for name, digest in digests.items():
        yield f"{name} digest", f"sha256:{digest}" if digest else "none"
    yield "fingerprint", certificate.fingerprint or "none"
    for name, rate in certificate.canary.items():
        yield "canary", f"{name} {rate} at {rate.level:.3f}, n={rate.n}"


def _inputs(inputs: InputDistribution | None) -> Iterator[Line]:
    if inputs is None:
        yield "expected inputs", "no sample given"
        return
    edges = ", ".join(f"{edge:g}" for edge in inputs.edges)
    yield (
        "expected inputs",
        f"{inputs.source}: {inputs.requests} requests, scores in bins from {edges}; judge {inputs.judge or 'unnamed'}",
    )
    for one in inputs.controls:
        counts = " ".join(map(str, one.scores))
        yield "expected inputs", f"{one.control}: {counts}, {one.failed} failed, {one.not_asked} not asked"


def _people(certificate: Certificate) -> Iterator[Line]:
    for approval in certificate.approvals:
        labelled = certificate.labels is not None and certificate.labels.by(approval.name)
        also = " (also labelled replies of the evaluation)" if labelled else ""
        yield f"signs as {approval.role}", f"{approval.name} {approval.key_id}{also}".strip()
    yield "trainer", certificate.trainer_key_id or "not named"
    yield from _steps(certificate)
    yield "status list", certificate.status_list_id or "none named"
    yield "roles asked for", _counts(certificate.required_roles)
    base = certificate.base_certificate
    yield "base's certificate", f"{base.serial} sha256:{base.certificate_sha256}" if base else "none named"
    yield from _from_root(certificate)
    yield "supersedes", certificate.supersedes or "none"
    yield "carries on", ", ".join(certificate.lineage) or "none"
    yield "certified at", f"{certificate.certified_at:%Y-%m-%d %H:%M:%S} UTC"
    yield "holds from", f"{certificate.not_before:%Y-%m-%d %H:%M:%S} UTC"
    yield "EXPIRES", f"{certificate.expires_at:%Y-%m-%d %H:%M:%S} UTC"


def _counts(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
