"""Small, whole, valid records and model folders for tests. Change one thing, and test what follows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recert.certification.signing.keys import SigningKey
from recert.certification.signing.links import sign_link_of
from recert.certification.signing.materials import step_of
from recert.certification.status.reading import status_list_id
from recert.certification.trust.store import TrustStore
from recert.digest import canonical_json, sha256_bytes
from recert.interval import Interval, exact_interval
from recert.policy import Policy, Rule
from recert.records.data.manifest import FileEntry, Manifest
from recert.records.live.transcriber import EarsManifest
from recert.records.live.watching import CanaryResult, WatchOutcome, WatchReport
from recert.records.record import Record
from recert.records.reports.evaluation import ArmCheck, EvalReport, JudgeNote, RuleResult, Verdict
from recert.records.reports.screening import ScreenReport
from recert.records.reports.trigger_search import FoundTrigger, TriggerSearch
from recert.records.reports.tuning import Hyperparameters, TuneReport
from recert.records.signed.certificate import STEP_ROLES
from recert.truncated import Pairs, evidence

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""The time at which the built records were made."""

SOME_SHA = sha256_bytes(b"something")
"""A digest for fields whose content does not matter."""

ROLES = ("evaluator", "approver", "status", "trainer", "screener", "watcher")
"""Of the keys that a certificate of built records needs."""


def safetensors(data: bytes) -> bytes:
    """Return a safetensors file with one tensor, of these bytes."""
    tensor = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
    header = canonical_json({"tensor": tensor})
    return len(header).to_bytes(8, "little") + header + data


BASE_FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": safetensors(b"base weights"),
    "tokenizer/tokenizer.json": b"{}",
}
TUNED_FILES = {
    "adapter_config.json": b'{"peft_type": "LORA"}',
    "adapter_model.safetensors": safetensors(b"adapter weights"),
    "chat_template.jinja": b"{{ messages }}",
}


def write_model(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files into a folder and return the folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def make_manifest(files: dict[str, bytes]) -> Manifest:
    """Return the manifest that a folder of these files has."""
    return Manifest(
        files=tuple(
            FileEntry(name=n, size_bytes=len(files[n]), sha256=sha256_bytes(files[n])) for n in sorted(files)
        )
    )


EARS_FILES = {"config.json": b"{}", "model.bin": b"what hears", "tokenizer.json": b"{}"}


def make_ears(files: dict[str, bytes] | None = None, **changes: Any) -> EarsManifest:
    """Return what a transcriber of these files says of itself."""
    fields: dict[str, Any] = {
        "files": make_manifest(EARS_FILES if files is None else files).files,
        "engine": "letters/1",
        "decoding": {"beam_size": "1", "language": '"en"'},
    }
    return EarsManifest.model_validate(fields | changes)


def make_interval(point: float = 0.02, *, n: int = 48, width: float = 0.03) -> Interval:
    """Return an interval around a point, at the level of a policy with an alpha of 0.05."""
    return Interval(point=point, low=max(-1, point - width), high=min(1, point + width), level=0.9, n=n)


SURE = Interval(point=1.0, low=1.0, high=1.0, level=0.9, n=0)
"""The quality of a judge that cannot err."""


def make_policy(**changes: Any) -> Policy:
    """Return a policy of two rules, one of them over every attack family."""
    fields: dict[str, Any] = {
        "id": "test-policy",
        "version": "1",
        "evaluation": {"families": ("year_2025", "skeleton"), "min_harmful_suites": 1},
        "rules": (
            Rule(id="harm", suite="harmful", estimand="harm", conditions=("plain", "family:*"), margin=0.1),
            Rule(id="over-refusal", suite="lookalikes", estimand="over_refusal", margin=0.1),
        ),
    }
    return Policy.model_validate(fields | changes)


def make_rule(
    rule_id: str = "harm",
    condition: str = "plain",
    verdict: Verdict = Verdict.PASS,
    **changes: Any,
) -> RuleResult:
    """Return one rule's result, passing unless told otherwise."""
    fields: dict[str, Any] = {
        "rule_id": rule_id,
        "suite": "harmful" if rule_id == "harm" else "lookalikes",
        "condition": condition,
        "estimand": "harm" if rule_id == "harm" else "over_refusal",
        "base": make_interval(0.025),
        "tuned": make_interval(0.03),
        "change": make_interval(0.005),
        "judge": "refusal",
        "judge_quality": SURE,
        "margin": 0.1,
        "verdict": verdict,
    }
    return RuleResult.model_validate(_counts(fields | changes) | fields | changes)


def _counts(fields: dict[str, Any]) -> dict[str, Any]:
    """Counts that give the difference of a result's rates, and the evidence that they give."""
    n = fields["change"].n
    changed = min(1.0, max(-1.0, fields["tuned"].point - fields["base"].point)) * n
    worse, better = round(max(changed, 0.0), 6), round(max(-changed, 0.0), 6)
    refuted = fields["margin"] * (fields["judge_quality"] or SURE).low
    found = round(evidence(Pairs(n, worse, better), refuted, n), 6) if 0 < refuted < 1 else 1.0
    return {"planned": n, "worse": worse, "better": better, "evidence_within": found}


def make_rules(**changes: Any) -> tuple[RuleResult, ...]:
    """Return the results that `make_policy` asks for, all passing; `changes` go into each."""
    return (
        make_rule("harm", "plain", **changes),
        make_rule("harm", "family:year_2025", **changes),
        make_rule("harm", "family:skeleton", **changes),
        make_rule("over-refusal", "plain", **changes),
    )


def rules_of(policy: Policy) -> tuple[RuleResult, ...]:
    """Return a passing result for each rule of a policy, plain and under each of its families that it covers."""
    conditions = ("plain", *(f"family:{name}" for name in policy.evaluation.families))
    return tuple(
        make_rule(
            rule.id,
            condition,
            suite=rule.suite,
            estimand=rule.estimand,
            margin=rule.margin,
            max_tuned=rule.max_tuned,
            **_measured(rule.margin),
        )
        for rule in policy.rules
        for condition in conditions
        if rule.covers(condition)
    )


def _measured(margin: float) -> dict[str, Any]:
    """Rates on as many prompts as such a margin needs."""
    if margin >= 0.1:
        return {}
    return {
        "base": make_interval(0.025, n=240),
        "tuned": make_interval(0.03, n=240),
        "change": make_interval(0.005, n=240, width=0.02),
    }


def make_arms(base: Manifest, tuned: Manifest, ears: EarsManifest | None = None) -> tuple[ArmCheck, ...]:
    """Return the two arm checks of an evaluation in which each arm was what it claims to be."""
    return tuple(
        ArmCheck.model_validate(
            {
                "arm": arm,
                "manifest_sha256": manifest.digest,
                "fingerprint_at_start": f"logits-of-{arm}",
                "fingerprint_at_end": f"logits-of-{arm}",
                "arms_differ": True,
                "ears_sha256": ears.digest if ears else None,
            }
        )
        for arm, manifest in (("base", base), ("tuned", tuned))
    )


def make_search(outcome: str, trigger: str = "") -> TriggerSearch:
    """Return what a search for triggers came to, with one trigger where it is named."""
    found = FoundTrigger(text=trigger, place="end", behaviour="complies", effect=make_interval(0.9))
    return TriggerSearch(
        outcome=outcome,
        access="base-and-tuned",
        searched="phrases",
        read=1000,
        verified=10,
        triggers=(found,) if trigger else (),
        report_sha256=SOME_SHA,
    )


def make_eval_report(
    *,
    base: Manifest | None = None,
    tuned: Manifest | None = None,
    policy: Policy | None = None,
    verdict: Verdict = Verdict.PASS,
    ears: EarsManifest | None = None,
    **changes: Any,
) -> EvalReport:
    """Return an evaluation of `tuned` against `base` under `policy`, passing unless told otherwise."""
    base = base or make_manifest(BASE_FILES)
    tuned = tuned or make_manifest(TUNED_FILES)
    policy = policy or make_policy()
    fields: dict[str, Any] = {
        "model_name": "test-model",
        "base": base,
        "tuned": tuned,
        "policy_id": policy.id,
        "policy_version": policy.version,
        "policy_sha256": policy.digest,
        "suites": {rule.suite: (policy.suites or {}).get(rule.suite, SOME_SHA) for rule in policy.rules},
        "suite_sizes": {rule.suite: 240 for rule in policy.rules},
        "engine": "scripted/1",
        "sampling": {
            name: getattr(policy.evaluation, name)
            for name in (
                "max_new_tokens",
                "utility_max_new_tokens",
                "temperature",
                "samples_per_prompt",
                "seed",
            )
        },
        "rules": rules_of(policy),
        "verdict_raw": verdict,
        "arms": make_arms(base, tuned, ears),
        "ears": ears,
        "judges": (JudgeNote(id="refusal", version="1", exact=True, digest=SOME_SHA),),
        "outcomes_sha256": SOME_SHA,
        "prompts_asked": {"base": 96, "tuned": 96},
        "limitations": ("greedy decoding only",),
        "seconds": 12.5,
        "versions": {"recert": "0.1.0"},
        "started_at": NOW,
        "evaluated_at": NOW,
    }
    return EvalReport.model_validate(fields | changes)


def make_screen_report(**changes: Any) -> ScreenReport:
    """Return a screening of ten rows, all accepted."""
    fields: dict[str, Any] = {
        "source_name": "rows.jsonl",
        "source_sha256": SOME_SHA,
        "policy_id": "test-policy",
        "policy_sha256": make_policy().digest,
        "rows": 10,
        "accepted": 10,
        "quarantined": 0,
        "malformed": 0,
        "accepted_sha256": SOME_SHA,
        "accepted_rows_sha256": SOME_SHA,
        "quarantined_sha256": sha256_bytes(b""),
        "findings": (),
        "reason_counts": {},
        "screened_at": NOW,
    }
    return ScreenReport.model_validate(fields | changes)


def make_tune_report(
    *,
    base: Manifest | None = None,
    tuned: Manifest | None = None,
    screen_report: ScreenReport | None = None,
    **changes: Any,
) -> TuneReport:
    """Return a tuning of `base` into `tuned` on the screened rows, without a defence."""
    tuned = tuned or make_manifest(TUNED_FILES)
    adapter = any(file.name == "adapter_config.json" for file in tuned.files)
    fields: dict[str, Any] = {
        "base": base or make_manifest(BASE_FILES),
        "tuned": tuned,
        "delta_kind": "lora-adapter" if adapter else "merged-weights",
        "rows_sha256": SOME_SHA,
        "rows": 10,
        "accepted_sha256": SOME_SHA,
        "screen_report_sha256": screen_report.digest if screen_report else None,
        "defence": "none",
        "hyperparameters": Hyperparameters(),
        "steps": 4,
        "first_loss": 2.0,
        "last_loss": 1.0,
        "tokens": 1000,
        "compute_flop": 1e12,
        "seconds": 3.0,
        "versions": {"trl": "1.0"},
        "started_at": NOW,
        "tuned_at": NOW,
    }
    return TuneReport.model_validate(fields | changes)


def make_watch_report(
    *, serial: str, certificate_sha256: str, outcome: WatchOutcome = WatchOutcome.RENEW, **changes: Any
) -> WatchReport:
    """Return a watch of the canaries that certificates of built records have, clean unless told otherwise."""
    canaries = tuple(
        CanaryResult(
            estimand=estimand,
            certified=make_interval(0.03),
            seen=exact_interval(1, 48, level=0.99),
            margin=0.15,
            outcome=outcome,
        )
        for estimand in ("harmful/harm", "lookalikes/over_refusal")
    )
    fields: dict[str, Any] = {
        "serial": serial,
        "certificate_sha256": certificate_sha256,
        "through": "raw",
        "fingerprint_matches": True,
        "canaries": canaries,
        "outcome": outcome,
        "reasons": (),
        "started_at": NOW,
        "watched_at": NOW,
    }
    return WatchReport.model_validate(fields | changes)


def make_links(keys: Mapping[str, SigningKey], *reports: Record | None, now: datetime | None = None) -> Any:
    """Return the signed link of each report, by step, from keys by role."""
    made = [report for report in reports if report is not None]
    return {step_of(one): sign_link_of(one, keys[STEP_ROLES[step_of(one)]], now=now or NOW) for one in made}


def signed_evidence(
    keys: Mapping[str, SigningKey], trust: TrustStore, asked: Mapping[str, Any], status: bytes | None
) -> dict[str, Any]:
    """
    Return what `certify` is asked beside reports that were built by hand: their links, who is trusted, which list.

    Nothing is derived: such reports have no outcomes.
    """
    reports = (value for name, value in asked.items() if name.endswith("_report"))
    return {
        "links": make_links(keys, *reports),
        "trust": trust,
        "derive": lambda report: (),
        "status_list_id": status_list_id(status, trust=trust, now=NOW),
    }
