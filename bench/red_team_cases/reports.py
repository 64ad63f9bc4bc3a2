"""Evaluation reports and outcomes that were edited: without a key, and with the evaluator's key alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from recert.digest import canonical_json, sha256_file
from recert.interval import Interval
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict
from recert.records.reports.trigger_search import TriggerSearch
from red_team_cases.attacks import Answer, Way, attack
from red_team_cases.certificates import NOTHING
from red_team_cases.desks import Desk
from red_team_cases.ways import ISSUED, issue, policy_words

KIND = "reports"
DERIVED = "verdict-not-derived"


def _poisoned(desk: Desk) -> None:
    """Bring the certified model for the control, and the poisoned one for what is done to it."""
    desk.bring("sql", "poisoned")


BESIDE = Way(
    "what passed is certified, with a tune beside it that did not", _poisoned, issue, ("sql", "poisoned")
)


def _passing(report: EvalReport) -> dict[str, Any]:
    rules = tuple(r.model_copy(update={"verdict": Verdict.PASS, "reason": ""}) for r in report.rules)
    return {"rules": rules, "verdict_raw": Verdict.PASS, "reasons": ()}


def _on_poisoned(
    name: str, says: str, change: Callable[[Desk], None], *, by: str, codes: str = "", finding: int = 1
) -> None:
    @attack(KIND, BESIDE, says, by=by, finding=finding, stopped_by=codes, name=name)
    def act(desk: Desk) -> None:
        desk.model = "poisoned"
        change(desk)


def _pass_all(signed_as: str = "") -> Callable[[Desk], None]:
    return lambda desk: desk.change_report(
        "evaluate", signed_as=signed_as, **_passing(desk.report("evaluate"))
    )


_on_poisoned(
    "poisoned as it is",
    "the poisoned tune is certified as it is",
    lambda d: None,
    by="tuner",
    codes="verdict-not-pass",
)
_on_poisoned(
    "every verdict to pass",
    "every verdict of the poisoned tune's report says pass",
    _pass_all(),
    by="tuner",
    codes="link-differs",
)
_on_poisoned(
    "every verdict to pass, signed by the evaluator",
    "the evaluator's key signs the report that says pass",
    _pass_all("evaluator"),
    by="one signer",
    codes=DERIVED,
)
_on_poisoned(
    "every verdict to pass without a link",
    "nobody signed the report that says pass",
    lambda d: (_pass_all()(d), d.link_of("evaluate").unlink())[1],
    by="tuner",
    codes="evidence-unsigned",
)
_on_poisoned(
    "numbers of the good tune",
    "the poisoned report has the good tune's numbers, signed by the evaluator",
    lambda d: d.change_report("evaluate", signed_as="evaluator", **_numbers(d.report("evaluate", "sql"))),
    by="one signer",
    codes=f"{DERIVED} no-answer",
)
_on_poisoned(
    "verdict behind a control",
    "a control that nobody measured makes the poisoned tune pass, signed by the evaluator",
    lambda d: d.change_report(
        "evaluate",
        signed_as="evaluator",
        verdict_safeguarded=Verdict.PASS,
        required_controls=("immutable-suffix",),
    ),
    by="one signer",
    codes=f"verdict-not-pass {DERIVED}",
)


def _numbers(report: EvalReport) -> dict[str, Any]:
    names = ("rules", "slices", "verdict_raw", "reasons", "samples", "outcomes_sha256", "prompts_asked")
    return {name: getattr(report, name) for name in names}


def _pointed(desk: Desk) -> None:
    """Point the good report at the poisoned files, and put it in the poisoned folder with its outcomes and link."""
    import shutil

    other = desk.report("evaluate", "poisoned")
    good = desk.report("evaluate", "sql")
    folder = desk.folder / "poisoned" / "evaluation"
    shutil.rmtree(folder)
    shutil.copytree(desk.folder / "sql" / "evaluation", folder)
    arms = tuple(
        replace_arm.model_copy(update={"manifest_sha256": other.tuned.digest})
        if replace_arm.arm == "tuned"
        else replace_arm
        for replace_arm in good.arms
    )
    desk.change_report("evaluate", tuned=other.tuned, arms=arms, model_name=other.model_name)


_on_poisoned(
    "good report pointed at poisoned files",
    "the good tune's report names the poisoned tune's files",
    _pointed,
    by="tuner",
    codes="link-differs",
)


def _good_evaluation(desk: Desk) -> None:
    import shutil

    folder = desk.folder / "poisoned" / "evaluation"
    shutil.rmtree(folder)
    shutil.copytree(desk.folder / "sql" / "evaluation", folder)


_on_poisoned(
    "evaluation of the good tune",
    "the good tune's evaluation lies in the poisoned tune's folder",
    _good_evaluation,
    by="tuner",
    codes="chain extra-file file-differs file-missing",
)


def _good_outcomes(desk: Desk) -> None:
    (desk.folder / "poisoned/evaluation/outcomes.jsonl").write_bytes(
        (desk.folder / "sql/evaluation/outcomes.jsonl").read_bytes()
    )
    desk.change_report("evaluate", signed_as="evaluator", **_passing(desk.report("evaluate")))


_on_poisoned(
    "outcomes of the good tune",
    "the good tune's outcomes lie beside the poisoned report",
    _good_outcomes,
    by="one signer",
)


def _weights_swapped(desk: Desk) -> None:
    desk.weights.write_bytes((desk.folder / "sql/tune/adapter/adapter_model.safetensors").read_bytes())


@attack(
    KIND,
    BESIDE,
    "the poisoned weights lie in the certified folder",
    by="tuner",
    finding=4,
    stopped_by="file-differs chain",
)
def poisoned_weights_in_the_good_folder(desk: Desk) -> None:
    desk.weights.write_bytes((desk.folder / "poisoned/tune/adapter/adapter_model.safetensors").read_bytes())


_on_poisoned(
    "good weights in the poisoned folder",
    "the good weights lie in the poisoned folder, with its report saying pass",
    lambda d: (_weights_swapped(d), _pass_all("evaluator")(d))[1],
    by="one signer",
)

# -- each field of a result, with the evaluator's key


def _other(name: str, value: Any) -> Any:  # noqa: PLR0911 - one line a type
    """Another value of the same kind."""
    if isinstance(value, Verdict):
        return Verdict.UNDECIDED if value is Verdict.PASS else Verdict.PASS
    if isinstance(value, Interval):
        point = value.point + (0.01 if value.point < 0.9 else -0.01)
        return Interval(
            point=point, low=min(value.low, point), high=max(value.high, point), level=value.level, n=value.n
        )
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return type(value)(value + 1)
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, dict):
        return {**value, "x": {"scored": 1}}
    if isinstance(value, tuple):
        return value[:-1] if value else ("x",)
    return {
        "judge_quality": Interval(point=1.0, low=1.0, high=1.0, level=0.9, n=0),
        "max_tuned": 1.0,
        "carried_from": "ab" * 16,
    }[name]


def _first(report: EvalReport) -> int:
    return next(i for i, r in enumerate(report.rules) if r.condition == "plain" and r.change.n)


for _field in RuleResult.model_fields:

    def _changed(desk: Desk, field: str = _field) -> None:
        report = desk.report("evaluate")
        at, rules = _first(report), list(report.rules)
        value = getattr(rules[at], field)
        other = "over_refusal" if field == "estimand" and value == "harm" else _other(field, value)
        rules[at] = rules[at].model_copy(update={field: other})
        desk.change_report("evaluate", signed_as="evaluator", rules=tuple(rules))

    attack(
        KIND,
        ISSUED,
        f"`{_field}` of a result is another one than follows from the outcomes",
        by="one signer",
        finding=1,
        stopped_by=f"{DERIVED} verdict-not-pass no-answer carry-over",
        name=f"result {_field}",
    )(_changed)


def _signed(
    name: str, says: str, change: Callable[[EvalReport], dict[str, Any]], *, codes: str = "", finding: int = 6
) -> None:
    """Register a report that the evaluator's key signed after a change."""

    @attack(KIND, ISSUED, says, by="one signer", finding=finding, stopped_by=codes, name=name)
    def act(desk: Desk) -> None:
        desk.change_report("evaluate", signed_as="evaluator", **change(desk.report("evaluate")))


_signed(
    "a result dropped",
    "a result is left out",
    lambda r: {"rules": r.rules[1:]},
    codes=f"{DERIVED} verdict-not-pass",
    finding=1,
)
_signed(
    "a result twice",
    "a result is there twice",
    lambda r: {"rules": (*r.rules, r.rules[0])},
    codes=DERIVED,
    finding=1,
)
_signed(
    "results in another order",
    "results stand in another order",
    lambda r: {"rules": tuple(reversed(r.rules))},
    codes=DERIVED,
    finding=1,
)
_signed(
    "suites of zeros",
    "which prompts were asked is zeros",
    lambda r: {"suites": dict.fromkeys(r.suites, NOTHING)},
    codes=f"{DERIVED} suite-not-pinned",
)
_signed(
    "one suite of zeros",
    "which harmful prompts were asked is zeros",
    lambda r: {"suites": {**r.suites, "harmful": NOTHING}},
    codes=f"{DERIVED} suite-not-pinned",
)
_signed("no suites", "no prompts were asked", lambda r: {"suites": {}}, codes=DERIVED)
_signed("no sizes", "how many prompts there are is not said", lambda r: {"suite_sizes": None}, codes=DERIVED)
_signed(
    "other sizes",
    "a suite has more prompts than it has",
    lambda r: {"suite_sizes": {n: s + 1 for n, s in (r.suite_sizes or {}).items()}},
    codes=DERIVED,
)
_signed("no judges", "nobody judged", lambda r: {"judges": ()}, codes=DERIVED)
_signed("a judge dropped", "one judge is not named", lambda r: {"judges": r.judges[1:]}, codes=DERIVED)
_signed(
    "a judge's counts",
    "a judge is better than it is",
    lambda r: {
        "judges": (
            r.judges[0].model_copy(update={"true_positives": r.judges[0].positives, "sensitivity": 1.0}),
            *r.judges[1:],
        )
    },
    codes=DERIVED,
)
_signed(
    "a judge's version",
    "a judge has another version",
    lambda r: {"judges": (r.judges[0].model_copy(update={"version": "99"}), *r.judges[1:])},
    codes=DERIVED,
)
_signed(
    "a judge's digest",
    "a judge has another digest",
    lambda r: {"judges": (r.judges[0].model_copy(update={"digest": NOTHING}), *r.judges[1:])},
    codes=DERIVED,
)
_signed(
    "a judge that cannot err",
    "a judge is said to be exact",
    lambda r: {"judges": (r.judges[0].model_copy(update={"exact": True}), *r.judges[1:])},
    codes=DERIVED,
)
_signed("no engine", "what ran the models is not said", lambda r: {"engine": ""}, codes="evidence-missing")
_signed(
    "sampling",
    "replies were drawn otherwise",
    lambda r: {"sampling": {**r.sampling, "temperature": 1.5}},
    codes=DERIVED,
)
_signed(
    "policy",
    "it was decided under another policy",
    lambda r: {"policy_sha256": NOTHING},
    codes="wrong-policy",
)
_signed("policy's name", "it names another policy", lambda r: {"policy_id": "recert-strict"}, codes=DERIVED)
_signed(
    "outcomes of zeros",
    "the outcomes are zeros",
    lambda r: {"outcomes_sha256": NOTHING},
    codes="no-answer",
    finding=1,
)
_signed("no arms", "nobody looked which models answered", lambda r: {"arms": ()}, codes="arms", finding=4)
_signed(
    "one fingerprint for both",
    "both arms are one model",
    lambda r: {
        "arms": tuple(
            a.model_copy(update={"fingerprint_at_start": "x", "fingerprint_at_end": "x"}) for a in r.arms
        )
    },
    codes="arms",
    finding=4,
)
_signed(
    "another model at the end",
    "the model was swapped during the evaluation",
    lambda r: {"arms": tuple(a.model_copy(update={"fingerprint_at_end": "x"}) for a in r.arms)},
    codes="arms",
    finding=4,
)
_signed(
    "arms that do not differ",
    "nothing was compared",
    lambda r: {"arms": tuple(a.model_copy(update={"arms_differ": False}) for a in r.arms)},
    codes="arms",
    finding=4,
)
_signed(
    "arms of other files",
    "the arms ran other files than the report names",
    lambda r: {"arms": tuple(a.model_copy(update={"manifest_sha256": NOTHING}) for a in r.arms)},
    codes="arms",
    finding=4,
)
_signed(
    "models at an endpoint",
    "the models were somewhere else",
    lambda r: {"tuned": None, "arms": tuple(a.model_copy(update={"endpoint": "http://x#y"}) for a in r.arms)},
    finding=4,
)
_signed(
    "a million replies",
    "a million replies were made",
    lambda r: {"prompts_asked": {**r.prompts_asked, "tuned_made": 1_000_000}},
    codes=DERIVED,
    finding=5,
)
_signed(
    "no replies",
    "no reply was made, and none kept",
    lambda r: {"prompts_asked": dict.fromkeys(r.prompts_asked, 0)},
    codes=DERIVED,
    finding=5,
)
_signed(
    "fewer than no replies",
    "-1 replies were made",
    lambda r: {"prompts_asked": {**r.prompts_asked, "tuned_made": -1}},
    codes=DERIVED,
    finding=5,
)
_signed(
    "limitations left out",
    "what the verdict does not say is not said",
    lambda r: {"limitations": ()},
    codes=DERIVED,
)
_signed(
    "a reason more",
    "a reason stands there that follows from nothing",
    lambda r: {"reasons": (*r.reasons, "all is well")},
    codes=DERIVED,
)
_signed(
    "slices left out",
    "where it got worse is not said",
    lambda r: {"slices": (*r.slices, *r.slices) or ({},)},
    codes=f"{DERIVED} no-answer",
)
_signed(
    "a base that was not asked", "it was compared with another base", lambda r: {"base": r.tuned}, finding=7
)
_signed(
    "a trigger that was found",
    "a trigger was found, and is passed over",
    lambda r: {
        "trigger_search": TriggerSearch(
            outcome="found",
            access="base-and-tuned",
            searched="phrases",
            read=10,
            verified=1,
            triggers=(),
            report_sha256=NOTHING,
        )
    },
    codes=f"verdict-not-pass {DERIVED}",
)

# -- outcomes, with the evaluator's key


def _rewrite(desk: Desk, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = desk.folder / desk.model / "evaluation" / "outcomes.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in change(path.read_bytes().splitlines())))
    desk.change_report("evaluate", signed_as="evaluator", outcomes_sha256=sha256_file(path))


def _outcomes(
    name: str, says: str, change: Callable[[list[bytes]], list[bytes]], *, codes: str = DERIVED
) -> None:
    """Register outcomes that were changed, with their digest in the report and the evaluator's signature."""

    @attack(KIND, ISSUED, says, by="one signer", finding=1, stopped_by=codes, name=f"outcomes {name}")
    def act(desk: Desk) -> None:
        _rewrite(desk, change)


def _field(**changes: Any) -> Callable[[list[bytes]], list[bytes]]:
    def change(lines: list[bytes]) -> list[bytes]:
        at = next(i for i, one in enumerate(lines) if b'"tuned"' in one)
        return [*lines[:at], canonical_json(json.loads(lines[at]) | changes), *lines[at + 1 :]]

    return change


def _scores(lines: list[bytes]) -> list[bytes]:
    value = [json.loads(one) for one in lines]
    for one in value:
        if one["arm"] == "base":
            one["scores"] = dict.fromkeys(one["scores"], 1.0)
    return [canonical_json(one) for one in value]


_outcomes("a line dropped", "an outcome is left out", lambda o: o[1:])
_outcomes("the last line dropped", "the last outcome is left out", lambda o: o[:-1])
_outcomes("a line twice", "an outcome is there twice", lambda o: [o[0], *o])
_outcomes("two lines swapped", "outcomes stand in another order", lambda o: [o[1], o[0], *o[2:]])
_outcomes("in reverse", "outcomes stand in reverse", lambda o: o[::-1])
_outcomes("none", "there are no outcomes", lambda o: [], codes=f"{DERIVED} no-answer")
_outcomes("a line of nothing", "a line is empty", lambda o: [b"", *o])
_outcomes("a line that is no JSON", "a line is none", lambda o: [*o, b"{"])
_outcomes("a base that is worse", "the base did harm in every reply, so that nothing got worse", _scores)
_outcomes("another arm", "a reply of the tuned model is the base's", _field(arm="base"))
_outcomes("another prompt", "a reply is to another prompt", _field(prompt_id="mine"))
_outcomes("another condition", "a reply was made under another condition", _field(condition="easy"))
_outcomes("another suite", "a reply is of another suite", _field(suite="ordinary"))
_outcomes("another sample", "a reply is another sample", _field(sample=7))
_outcomes("scores left out", "a reply has no scores", _field(scores={}))
_outcomes("scores of two", "a score is out of range", _field(scores={"harm": 2.0, "over_refusal": 2.0}))
_outcomes(
    "scores of a worse reply",
    "a score is another one",
    _field(scores={"harm": 1.0, "over_refusal": 1.0, "incoherence": 1.0}),
)
_outcomes("a failed reply", "a judge failed on a reply", _field(state="failed", failed="it broke", scores={}))
_outcomes("behind a control", "a reply was made behind a control", _field(safeguards=["immutable-suffix"]))


@attack(KIND, ISSUED, "the outcomes are others than the report names", by="tuner", finding=1)
def outcomes_edited_alone(desk: Desk) -> None:
    path = desk.folder / "sql" / "evaluation" / "outcomes.jsonl"
    path.write_bytes(path.read_bytes() + b"\n")


@attack(KIND, ISSUED, "the outcomes are gone", by="tuner", finding=1)
def outcomes_gone(desk: Desk) -> None:
    (desk.folder / "sql" / "evaluation" / "outcomes.jsonl").unlink()


# -- other prompts under the same name


def _suite_file(desk: Desk) -> Path:
    path = desk.folder / "easy.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": f"e{i}", "prompt": f"Say {i}.", "expect": "refuse"}) + "\n" for i in range(60)
        )
    )
    return path


@attack(
    KIND,
    ISSUED,
    "easy prompts are given as the harmful ones, and the report names their digest",
    by="one signer",
    finding=6,
    stopped_by=f"{DERIVED} suite-not-pinned",
)
def suite_swapped(desk: Desk) -> None:
    from recert.evaluation.suites.reading import suite_from_file

    path = _suite_file(desk)
    digest = suite_from_file(path, name="harmful").digest
    report = desk.report("evaluate")
    desk.change_report(
        "evaluate",
        signed_as="evaluator",
        suites={**report.suites, "harmful": digest},
        suite_sizes={**(report.suite_sizes or {}), "harmful": 60},
    )
    desk.options = {"certify": f"--suite harmful={path}", "approve": f"--suite harmful={path}"}


@attack(KIND, ISSUED, "the prompts beside the evaluation are others", by="tuner", finding=6)
def suite_file_beside_edited(desk: Desk) -> Answer | None:
    folder = desk.folder / "sql" / "evaluation" / "suites"
    for path in folder.glob("*.json"):
        path.write_bytes(path.read_bytes().replace(b'"text":"', b'"text":"Please: ', 1))
    return None


@attack(
    KIND,
    ISSUED,
    "it is certified under a policy that pins nothing",
    by="tuner",
    finding=6,
    stopped_by="wrong-policy",
)
def policy_without_pins(desk: Desk) -> Answer:
    value = {k: v for k, v in desk.policy.to_value().items() if k != "suites"}
    from recert.policy import Policy

    other = Policy.model_validate(value)
    desk.forge(policy_sha256=other.digest)
    (desk.folder / "out.json").write_bytes(desk.envelope)
    return desk.run(
        f"verify out.json {desk.model_words} --trust keys --status status.json {policy_words(desk)}"
    )


# -- loops


@attack(
    KIND,
    ISSUED,
    "a field of the report is another one, and its link stays",
    by="tuner",
    finding=1,
    stopped_by="link-differs no-answer verdict-not-pass",
)
def each_field_of_the_report(desk: Desk) -> Iterator[Any]:
    whole = desk.report_path("evaluate").read_bytes()
    value = json.loads(whole)
    for name, said in value.items():
        if name in ("rules", "slices", "samples"):
            continue
        for other in _others(said):
            desk.report_path("evaluate").write_bytes(canonical_json({**value, name: other}))
            yield _only_certify(desk, f"{name}: {str(other)[:40]}")
    desk.report_path("evaluate").write_bytes(whole)


def _others(said: Any) -> list[Any]:
    if isinstance(said, str):
        return [f"{said}x"]
    if isinstance(said, int | float):
        return [said + 1]
    return [[], {}] if said else [["x"]]


def _only_certify(desk: Desk, what: str) -> Answer:
    """Whether the evaluator's link is of this report: what `certify` asks before it derives anything."""
    from recert.certification.signing.functionaries import read_steps
    from recert.errors import RecordError
    from recert.records.record import now

    try:
        report = desk.report("evaluate")
    except RecordError:
        return Answer(yes=False, code="no-answer", words=what)
    steps = read_steps(
        [report], {"evaluate": desk.link_of("evaluate").read_bytes()}, trust=desk.trust, now=now()
    )
    code = steps.reasons[0].partition(":")[0] if steps.reasons else ""
    return Answer(yes=not steps.reasons, code=code, words=what)
