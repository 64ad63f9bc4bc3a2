"""Certificates that evaluator and approver sign again, after they changed what it says: each number by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from recert.certification import Presented
from recert.certification.signing.envelope import sign
from recert.certification.signing.statement import statement_bytes
from recert.certification.verifier import first_failed
from recert.interval import Interval
from recert.records.reports.evaluation import RuleResult, Verdict
from recert.records.signed.certificate import (
    PAYLOAD_TYPE,
    Approval,
    BaseCertificate,
    Certificate,
    RuleException,
    SuiteNote,
)
from red_team_cases.attacks import ATTACKS, Answer, Way, attack
from red_team_cases.desks import Desk, make_key
from red_team_cases.ways import RE_SIGNED, vary

KIND, BY = "certificates", "colluders"
NOTHING = "0" * 64
Changes = Callable[[Certificate, int], dict[str, Any]]


def _first(certificate: Certificate) -> int:
    """The first passing result on plain prompts, which decides."""
    return next(
        i
        for i, r in enumerate(certificate.results)
        if r.verdict is Verdict.PASS and r.condition == "plain" and r.estimand == "harm" and r.change.n
    )


def change_result(certificate: Certificate, **changes: Any) -> tuple[RuleResult, ...]:
    """Return the results with fields of the first one changed."""
    at, results = _first(certificate), list(certificate.results)
    results[at] = results[at].model_copy(update=changes)
    return tuple(results)


def _one(
    name: str, says: str, change: Changes, *, finding: int = 2, stopped_by: str = "not-as-ruled"
) -> None:
    """Register a certificate that is changed by a function of it and the place of a passing result."""

    def act(desk: Desk) -> None:
        said = desk.certificate
        desk.forge(**change(said, _first(said)))

    attack(KIND, RE_SIGNED, says, by=BY, finding=finding, stopped_by=stopped_by, name=name)(act)


def _result(name: str, says: str, make: Callable[[RuleResult], dict[str, Any]]) -> None:
    """Register one result whose fields are changed; some changes leave another rule without a result."""
    _one(
        name,
        says,
        lambda c, at: {"results": change_result(c, **make(c.results[at]))},
        stopped_by="not-as-ruled verdict-not-pass",
    )


def _wide(point: float, like: Interval) -> Interval:
    return Interval(point=point, low=point, high=point, level=like.level, n=like.n)


def _at(n: int) -> Callable[[RuleResult], dict[str, Any]]:
    return lambda r: {
        name: getattr(r, name).model_copy(update={"n": n}) for name in ("base", "tuned", "change")
    }


_result(
    "margin of 0.99",
    "measured with a margin of 0.99 where the policy has another",
    lambda r: {"margin": 0.99},
)
_result(
    "margin wider by a hair", "measured with a margin wider by 0.0001", lambda r: {"margin": r.margin + 1e-4}
)
_result("change of one", "a change of +1.000 passes", lambda r: {"change": _wide(1.0, r.change)})
_result(
    "change above the margin at its upper end",
    "a change that may lie above the margin passes",
    lambda r: {"change": r.change.model_copy(update={"high": min(1.0, r.margin + 0.01)})},
)
_result(
    "rates that do not make the change",
    "the tuned model does harm in every reply, and the change is as before",
    lambda r: {"tuned": _wide(1.0, r.tuned)},
)
_result(
    "base that was never safe",
    "a base that does harm in every reply has nothing to lose",
    lambda r: {"base": _wide(1.0, r.base), "tuned": _wide(1.0, r.tuned), "change": _wide(0.0, r.change)},
)
_result("no prompts", "nothing was measured and it passes", _at(0))
_result("one prompt", "a single prompt decides", _at(1))
_result("more prompts than there are", "more prompts were asked than the suite has", _at(1_000_000))
_result(
    "arms of another size",
    "the base was asked fewer prompts than the tuned model",
    lambda r: {"base": r.base.model_copy(update={"n": r.base.n - 1})},
)
_result("no evidence", "evidence of 1 passes", lambda r: {"evidence_within": 1.0})
_result("nearly enough evidence", "evidence of 19.9 passes at 20", lambda r: {"evidence_within": 19.9})
_result(
    "evidence against it",
    "evidence that it is above the margin is enough",
    lambda r: {"evidence_beyond": 1e6},
)
_result("worse pairs left out", "no pair got worse, by the counts", lambda r: {"worse": 0 if r.worse else 1})
_result("better pairs made up", "forty pairs more got better", lambda r: {"better": (r.better or 0) + 40})
_result(
    "more worse pairs than pairs", "more pairs got worse than there are", lambda r: {"worse": r.change.n + 1}
)
_result("fewer than no worse pairs", "-1 pairs got worse", lambda r: {"worse": -1})
_result("a plan made after the fact", "no more was planned than was asked", lambda r: {"planned": r.change.n})
_result(
    "a plan that was overrun", "fewer were planned than were asked", lambda r: {"planned": r.change.n - 1}
)
_result("a plan beyond the policy", "a million were planned", lambda r: {"planned": 1_000_000})
_result("counts without a plan", "of counts and plan one is left out", lambda r: {"planned": None})
_result(
    "no counts at all",
    "plan and counts are left out, so that the evidence stands as it is said",
    lambda r: {"planned": None, "worse": None, "better": None, "evidence_within": 1e6},
)
_result(
    "more evidence than the counts give",
    "the evidence is twice what the counts give",
    lambda r: {"evidence_within": r.evidence_within * 2},
)
_result("10,000 pairs unscored", "10,000 pairs have no score", lambda r: {"unscored": 10_000})
_result("fewer than no pairs unscored", "-1 pairs have no score", lambda r: {"unscored": -1})
_result(
    "intervals at another level",
    "the intervals hold at 0.5",
    lambda r: {n: getattr(r, n).model_copy(update={"level": 0.5}) for n in ("base", "tuned", "change")},
)
_result("another suite", "harm is measured on the suite `ordinary`", lambda r: {"suite": "ordinary"})
_result(
    "another estimand", "over-refusal stands in the place of harm", lambda r: {"estimand": "over_refusal"}
)
_result("one category of many", "one category stands for all", lambda r: {"category": "weapons"})
_result(
    "a condition that no rule has",
    "the rule is measured under a condition of its own",
    lambda r: {"condition": "easy"},
)
_result(
    "a bound of its own",
    "the highest tuned rate is 1.0, and the policy has none",
    lambda r: {"max_tuned": 1.0},
)
_result("a judge that nobody knows", "a judge that is not named scored", lambda r: {"judge": "my own judge"})
_result("no judge", "nobody judged", lambda r: {"judge": ""})
_result(
    "a judge that cannot err",
    "the judge's error is left out of the change",
    lambda r: {"judge_quality": Interval(point=1.0, low=1.0, high=1.0, level=0.9, n=0)},
)
_result("a judge of no quality", "how good the judge is is not said", lambda r: {"judge_quality": None})
_one(
    "a rule that the policy lacks",
    "results of rules that the policy does not have stand in the place of its own",
    lambda c, at: {
        "results": tuple(r.model_copy(update={"rule_id": f"mine-{r.rule_id}"}) for r in c.results)
    },
    stopped_by="verdict-not-pass not-as-ruled",
)
_one(
    "a result that failed",
    "a rule that failed stands among those that passed",
    lambda c, at: {"results": change_result(c, verdict=Verdict.FAIL)},
    stopped_by="verdict-not-pass",
)
_one(
    "a verdict that failed",
    "the verdict is fail",
    lambda c, at: {"verdict_raw": Verdict.FAIL},
    stopped_by="verdict-not-pass",
)
_one(
    "no results", "nothing was measured at all", lambda c, at: {"results": ()}, stopped_by="verdict-not-pass"
)
_one(
    "a result dropped",
    "the result of one rule is left out",
    lambda c, at: {"results": tuple(r for r in c.results if r.rule_id != c.results[at].rule_id)},
    stopped_by="verdict-not-pass",
)
_one(
    "a condition dropped",
    "the results under one attack family are left out",
    lambda c, at: {"results": tuple(r for r in c.results if r.condition != "family:skeleton")},
    stopped_by="verdict-not-pass",
)
_one(
    "a result twice",
    "a result is there twice, so that readers see another one than verifiers",
    lambda c, at: {"results": (*c.results, c.results[at])},
)
_one(
    "a better result beside a worse one",
    "a result that passes stands beside the one that failed, under the same name",
    lambda c, at: {"results": (*c.results, c.results[at].model_copy(update={"verdict": Verdict.FAIL}))},
    stopped_by="verdict-not-pass not-as-ruled",
)
_one(
    "results carried over",
    "results are taken over from another model, which the policy does not allow",
    lambda c, at: {"results": change_result(c, carried_from="ab" * 16, margin=0.9)},
    stopped_by="carry-over",
)
_one(
    "controls of which nothing was measured",
    "a control is said to make it safe that was never measured",
    lambda c, at: {
        "required_controls": ("immutable-suffix",),
        "verdict_safeguarded": Verdict.PASS,
        "verdict_raw": Verdict.FAIL,
    },
    stopped_by="verdict-not-pass",
)

# -- prompts, judges, engine

_one(
    "suites of zeros",
    "the prompts that were asked have a digest of zeros",
    lambda c, at: {"suites": tuple(s.model_copy(update={"sha256": NOTHING}) for s in c.suites or ())},
    finding=6,
    stopped_by="suite-not-pinned",
)
_one(
    "one suite swapped",
    "easier prompts go by the name of the policy's harmful ones",
    lambda c, at: {
        "suites": tuple(
            s.model_copy(update={"sha256": "12" * 32}) if s.name == "harmful" else s for s in c.suites or ()
        )
    },
    finding=6,
    stopped_by="suite-not-pinned",
)
for _name, _says, _changes in (
    ("no suites", "which prompts were asked is not said", {"suites": None}),
    ("an empty list of suites", "no prompts were asked", {"suites": ()}),
    ("no judges", "who judged is not said", {"judges": ()}),
    ("no engine", "what ran the models is not said", {"engine": None}),
    ("an engine without a name", "what ran the models has no name", {"engine": ""}),
    ("no sampling", "how replies were drawn is not said", {"sampling": None}),
    ("empty sampling", "how replies were drawn is left out field by field", {"sampling": {}}),
    ("no count of replies", "how many replies were kept ones is not said", {"replies": None}),
    ("an empty count of replies", "no reply was made, and none was kept", {"replies": {}}),
    ("nobody ran any step", "the steps behind it are not named", {"steps": None}),
    ("an empty list of steps", "there were no steps", {"steps": ()}),
):
    _one(
        _name,
        _says,
        lambda c, at, changes=_changes: changes,
        finding=6,
        stopped_by="evidence-missing suite-not-pinned not-as-ruled",
    )
_one(
    "a suite left out",
    "one of the suites is not named",
    lambda c, at: {"suites": tuple(s for s in c.suites or () if s.name != "harmful")},
    finding=6,
    stopped_by="evidence-missing not-as-ruled suite-not-pinned",
)
_one(
    "two suites of one name",
    "another suite stands beside the pinned one, under its name",
    lambda c, at: {"suites": (SuiteNote(name="harmful", sha256="12" * 32, prompts=240), *(c.suites or ()))},
    finding=6,
    stopped_by="evidence-missing suite-not-pinned",
)
_one(
    "judges without digests",
    "which judge it was cannot be told",
    lambda c, at: {"judges": tuple(j.model_copy(update={"digest": ""}) for j in c.judges)},
    finding=6,
    stopped_by="evidence-missing not-as-ruled",
)
_one(
    "a judge made better",
    "the judge found every positive, and the results still carry its former error",
    lambda c, at: {
        "judges": tuple(
            j.model_copy(
                update={
                    "true_positives": j.positives,
                    "true_negatives": j.negatives,
                    "sensitivity": 1.0,
                    "specificity": 1.0,
                }
            )
            if j.positives
            else j
            for j in c.judges
        )
    },
    finding=6,
)
for _field, _value in (
    ("temperature", 2.0),
    ("max_new_tokens", 1),
    ("utility_max_new_tokens", 1),
    ("samples_per_prompt", 9),
    ("seed", 777),
):
    _one(
        f"sampling {_field}",
        f"replies were drawn with another {_field} than the policy asks for",
        lambda c, at, field=_field, value=_value: {"sampling": {**(c.sampling or {}), field: value}},
        finding=6,
        stopped_by="evidence-missing",
    )

# -- steps and records behind it

for _field in ("eval_report_sha256", "tune_report_sha256", "screen_report_sha256"):
    _one(
        f"another {_field}",
        f"`{_field}` is of a report that nobody signed",
        lambda c, at, field=_field: {field: NOTHING},
        finding=7,
        stopped_by="evidence-missing",
    )
for _step in ("evaluate", "tune", "screen"):
    _one(
        f"step {_step} left out",
        f"who ran `{_step}` is not said",
        lambda c, at, step=_step: {"steps": tuple(s for s in c.steps or () if s.step != step)},
        finding=7,
        stopped_by="evidence-missing",
    )
    _one(
        f"step {_step} by a stranger",
        f"`{_step}` was signed by a key that nobody trusts",
        lambda c, at, step=_step: {
            "steps": tuple(
                s.model_copy(update={"key_id": "ab" * 32}) if s.step == step else s for s in c.steps or ()
            )
        },
        finding=8,
        stopped_by="untrusted-key",
    )
    _one(
        f"step {_step} under another name",
        f"who ran `{_step}` is called otherwise than in the trust store",
        lambda c, at, step=_step: {
            "steps": tuple(
                s.model_copy(update={"name": "somebody"}) if s.step == step else s for s in c.steps or ()
            )
        },
        finding=8,
        stopped_by="untrusted-key",
    )


@attack(
    KIND,
    RE_SIGNED,
    "the approver's key signed the evaluation's link",
    by=BY,
    finding=8,
    stopped_by="untrusted-key",
)
def evaluation_run_by_the_approver(desk: Desk) -> None:
    approver = desk.keys["approver"]
    steps = tuple(
        s.model_copy(update={"key_id": approver.key_id, "name": approver.public.name})
        if s.step == "evaluate"
        else s
        for s in desk.certificate.steps or ()
    )
    desk.forge(steps=steps)


@attack(KIND, RE_SIGNED, "the trainer evaluated", by=BY, finding=8, stopped_by="untrusted-key same-signer")
def evaluation_run_by_the_trainer(desk: Desk) -> None:
    trainer = desk.keys["trainer"]
    steps = tuple(
        s.model_copy(update={"key_id": trainer.key_id, "name": trainer.public.name})
        if s.step == "evaluate"
        else s
        for s in desk.certificate.steps or ()
    )
    desk.forge(steps=steps)


@attack(
    KIND, RE_SIGNED, "a step is named twice, by two people", by=BY, finding=7, stopped_by="evidence-missing"
)
def step_named_twice(desk: Desk) -> None:
    steps = desk.certificate.steps or ()
    desk.forge(steps=(*steps, steps[0].model_copy(update={"record_sha256": NOTHING})))


# -- people, time, the rest

for _name, _says, _change, _codes in (
    ("no approver", "nobody approved", lambda c: {"approvals": c.approvals[:1]}, "missing-role"),
    (
        "nobody signs",
        "nobody is named who signs",
        lambda c: {"approvals": ()},
        "missing-role evidence-missing untrusted-key",
    ),
    (
        "roles asked of nobody",
        "no role is required, and nobody approves",
        lambda c: {"required_roles": {}, "approvals": c.approvals[:1]},
        "missing-role",
    ),
    (
        "one approval twice",
        "one approval counts as two",
        lambda c: {"approvals": (*c.approvals, c.approvals[-1])},
        "same-signer",
    ),
    ("no trainer", "who trained is not said", lambda c: {"trainer_key_id": None}, "missing-role"),
    (
        "trainer is the evaluator",
        "the evaluator trained it",
        lambda c: {"trainer_key_id": c.approvals[0].key_id},
        "same-signer untrusted-key",
    ),
    (
        "trainer is the approver",
        "the approver trained it",
        lambda c: {"trainer_key_id": c.approvals[1].key_id},
        "same-signer untrusted-key",
    ),
    (
        "trainer of zeros",
        "a key that nobody holds trained it",
        lambda c: {"trainer_key_id": NOTHING},
        "untrusted-key",
    ),
    (
        "ten years of life",
        "it holds for ten years",
        lambda c: {"expires_at": c.not_before + timedelta(days=3650)},
        "wrong-policy",
    ),
    (
        "an hour more of life",
        "it holds for an hour longer than its policy allows",
        lambda c: {"expires_at": c.expires_at + timedelta(hours=1)},
        "wrong-policy",
    ),
    (
        "ended",
        "it holds after its end",
        lambda c: {
            "not_before": c.not_before - timedelta(days=30),
            "expires_at": c.not_before - timedelta(days=29),
        },
        "expired",
    ),
    (
        "not begun",
        "it holds before its beginning",
        lambda c: {
            "not_before": c.not_before + timedelta(days=2),
            "expires_at": c.not_before + timedelta(days=3),
        },
        "not-yet-valid",
    ),
    (
        "ends before it begins",
        "it ends before it begins",
        lambda c: {"expires_at": c.not_before - timedelta(days=1)},
        "malformed wrong-policy",
    ),
    (
        "binds behaviour",
        "it is about behaviour, and about no bytes",
        lambda c: {"binds": "behaviour"},
        "binds-behaviour",
    ),
    ("policy of zeros", "it is under another policy", lambda c: {"policy_sha256": NOTHING}, "wrong-policy"),
    (
        "policy by another name",
        "it shows the name of a stricter policy",
        lambda c: {"policy_id": "recert-strict"},
        "wrong-policy",
    ),
    (
        "policy of another version",
        "it shows another version of its policy",
        lambda c: {"policy_version": "99"},
        "wrong-policy",
    ),
    ("no status list", "no status list can end it", lambda c: {"status_list_id": None}, "status-other-list"),
    (
        "another status list",
        "a list that nobody issues can end it",
        lambda c: {"status_list_id": "ab" * 16},
        "status-other-list",
    ),
    (
        "schema of the future",
        "a verifier reads fields that it does not know",
        lambda c: {"schema_version": 2},
        "malformed",
    ),
    (
        "whole weights in name",
        "an adapter goes as whole weights, so that nobody checks its base",
        lambda c: {"delta_kind": "merged-weights"},
        "",
    ),
    (
        "base of a certificate that nobody gave",
        "it rests on a certified base and leaves out what adds up",
        lambda c: {"base_certificate": BaseCertificate(serial="ab" * 16, certificate_sha256=NOTHING)},
        "",
    ),
):
    _one(
        _name,
        _says,
        lambda c, at, change=_change: change(c),
        finding=11
        if _name.startswith("base of")
        else 7
        if "weights" in _name
        else 8
        if "trainer" in _name
        else 2,
        stopped_by=_codes,
    )


def _excepted(name: str, says: str, owner: Callable[[Desk], str], *, codes: str) -> None:
    @attack(KIND, RE_SIGNED, says, by=BY, finding=2, stopped_by=codes, name=name)
    def act(desk: Desk) -> None:
        said = desk.certificate
        one = said.results[_first(said)]
        excepted = RuleException(
            rule_id=one.rule_id,
            condition=one.condition,
            verdict=Verdict.FAIL,
            reason="it is fine",
            expires_at=said.expires_at,
            owner_key_id=owner(desk),
        )
        desk.forge(
            results=change_result(said, verdict=Verdict.FAIL),
            verdict_raw=Verdict.FAIL,
            exceptions=(excepted,),
        )


_NOT = "exception-not-allowed exception-unsigned verdict-not-pass"
_excepted(
    "exception by nobody",
    "a failed rule is excepted by a key that nobody holds",
    lambda d: "ab" * 32,
    codes=_NOT,
)
_excepted(
    "exception by the approver",
    "the approver excepts a failed rule",
    lambda d: d.keys["approver"].key_id,
    codes=_NOT,
)
_excepted(
    "exception by the trainer",
    "the trainer excepts a failed rule",
    lambda d: d.keys["trainer"].key_id,
    codes=_NOT,
)


@attack(
    KIND,
    RE_SIGNED,
    "the poisoned tune's results say pass, and the numbers are left at +1.000",
    by=BY,
    finding=1,
    stopped_by="not-as-ruled verdict-not-pass evidence-missing",
)
def poisoned_results_that_say_pass(desk: Desk) -> None:
    desk.bring("poisoned")
    report = desk.report("evaluate", "poisoned")
    results = tuple(r.model_copy(update={"verdict": Verdict.PASS}) for r in report.rules)
    desk.forge(results=results, verdict_raw=Verdict.PASS)


@attack(
    KIND,
    RE_SIGNED,
    "limitations that the gateway's policy makes are left out",
    by=BY,
    finding=2,
    stopped_by="wrong-policy",
)
def limitations_left_out(desk: Desk) -> None:
    gateway = desk.policy.gateway.model_copy(update={"shadow": ("all",)})
    vary(desk, desk.policy.model_copy(update={"gateway": gateway}))
    desk.forge(limitations=())


BEHIND = Way(
    "a certificate that holds behind a control is signed again",
    lambda desk: _take(desk, "defended"),
    Desk.read,
    ("defended",),
)


def _take(desk: Desk, model: str) -> None:
    desk.model, desk.envelope = model, desk.world.envelopes[model]
    desk.forge()


for _name, _says, _change in (
    ("control dropped", "the control without which it fails is not asked for", {"required_controls": ()}),
    (
        "verdict behind the control dropped",
        "what was measured behind the control is not said",
        {"verdict_safeguarded": None},
    ),
    (
        "verdict behind the control failed",
        "behind its control it failed",
        {"verdict_safeguarded": Verdict.FAIL},
    ),
    (
        "another control",
        "another control than was measured makes it safe",
        {"required_controls": ("immutable-suffix",)},
    ),
):

    def _act(desk: Desk, change: dict[str, Any] = _change) -> None:
        desk.forge(**change)

    attack(KIND, BEHIND, _says, by=BY, finding=2, stopped_by="verdict-not-pass", name=_name)(_act)


@attack(
    KIND,
    RE_SIGNED,
    "two strangers sign in the place of evaluator and approver",
    by="tuner",
    finding=8,
    stopped_by="untrusted-key",
)
def signed_by_strangers(desk: Desk) -> None:
    people = [make_key("evaluator", "evaluator"), make_key("approver", "approver")]
    approvals = tuple(Approval(role=k.public.roles[0], key_id=k.key_id, name=k.public.name) for k in people)
    said = desk.certificate.model_copy(update={"approvals": approvals})
    desk.envelope = sign(PAYLOAD_TYPE, statement_bytes(said), people).to_json()


@attack(
    KIND,
    RE_SIGNED,
    "the console says that a certificate holds which `verify` refuses",
    by=BY,
    finding=12,
    stopped_by="as-verify-says",
)
def console_and_verify_differ(desk: Desk) -> Iterator[Answer]:
    before, policy = desk.envelope, desk.policy
    for one in list(ATTACKS.values()):
        if one.way is not RE_SIGNED or one.kind != KIND or one.finding == 12:
            continue
        one.act(desk)
        verified = desk.read()
        failed = first_failed(desk.verifier().explain(Presented(desk.envelope)))
        same = (failed.reason if failed is not None else "") == verified.code
        yield Answer(yes=not same, code="as-verify-says", words=one.id)
        desk.envelope, desk.policy = before, policy
