"""Drafts that the evaluator alone changed, given to an honest approver with the evidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recert.interval import Interval
from recert.records.data.manifest import Manifest
from recert.records.reports.evaluation import Verdict
from recert.records.signed.certificate import Certificate
from red_team_cases.attacks import Way, attack
from red_team_cases.certificates import NOTHING, change_result
from red_team_cases.desks import Desk
from red_team_cases.ways import SIGNED_OFF, put_draft

KIND, BY = "sign-off", "one signer"
DERIVED = "verdict-not-derived"
BESIDE = Way(SIGNED_OFF.name, SIGNED_OFF.prepare, SIGNED_OFF.ask, ("sql", "poisoned"))


def _draft(
    name: str, says: str, change: Callable[[Certificate], dict[str, Any]], *, finding: int = 1
) -> None:
    @attack(KIND, SIGNED_OFF, says, by=BY, finding=finding, name=name)
    def act(desk: Desk) -> None:
        desk.forge("evaluator", **change(desk.certificate))
        put_draft(desk)


def _another(rate: Interval) -> Interval:
    point = round(min(1.0, rate.point + 0.001), 6)
    return rate.model_copy(update={"point": point, "high": max(rate.high, point)})


def _measured(certificate: Certificate) -> Any:
    return next(
        r for r in certificate.results if r.condition == "plain" and r.estimand == "harm" and r.change.n
    )


_draft(
    "rates",
    "the tuned rate is another one, and within every bound",
    lambda c: {
        "results": change_result(c, tuned=_another(_measured(c).tuned), base=_another(_measured(c).base))
    },
)
_draft(
    "evidence",
    "there is more evidence than there is",
    lambda c: {"results": change_result(c, evidence_within=_measured(c).evidence_within + 1)},
)
_draft(
    "number of prompts",
    "more prompts were asked",
    lambda c: {
        "results": change_result(
            c,
            **{
                n: getattr(_measured(c), n).model_copy(update={"n": _measured(c).change.n + 1})
                for n in ("base", "tuned", "change")
            },
        )
    },
)
_draft(
    "unscored",
    "fewer pairs are unscored",
    lambda c: {"results": change_result(c, unscored=_measured(c).unscored + 1)},
)
_draft("states", "replies were scored otherwise", lambda c: {"results": change_result(c, states={})})
_draft("a category", "a category fared otherwise", lambda c: {"results": change_result(c, categories=())})
_draft("evidence digest", "it follows from outcomes that nobody has", lambda c: {"evidence_sha256": NOTHING})
_draft("report digest", "it follows from a report that nobody has", lambda c: {"eval_report_sha256": NOTHING})
_draft(
    "suites",
    "other prompts were asked",
    lambda c: {"suites": tuple(s.model_copy(update={"sha256": NOTHING}) for s in c.suites or ())},
    finding=6,
)
_draft(
    "suite sizes",
    "there are more prompts",
    lambda c: {"suites": tuple(s.model_copy(update={"prompts": s.prompts + 1}) for s in c.suites or ())},
    finding=6,
)
_draft(
    "judges",
    "a judge is better than it is",
    lambda c: {"judges": tuple(j.model_copy(update={"version": "99"}) for j in c.judges)},
    finding=6,
)
_draft(
    "sampling",
    "replies were drawn otherwise",
    lambda c: {"sampling": {**(c.sampling or {}), "seed": 99}},
    finding=6,
)
_draft("limitations", "what it does not say is not said", lambda c: {"limitations": ()})
_draft(
    "canary",
    "watches will compare with a rate of one",
    lambda c: {"canary": {n: Interval(point=1.0, low=1.0, high=1.0, level=0.9, n=100) for n in c.canary}},
    finding=7,
)
_draft("no canary", "watches will compare with nothing", lambda c: {"canary": {}}, finding=7)
_draft(
    "life",
    "it holds for ten years",
    lambda c: {"expires_at": c.expires_at.replace(year=c.expires_at.year + 10)},
    finding=2,
)
_draft(
    "roles",
    "nobody else needs to sign",
    lambda c: {"required_roles": {}, "approvals": c.approvals[:1]},
    finding=8,
)
_draft("status list", "another list can end it", lambda c: {"status_list_id": "ab" * 16}, finding=3)
_draft(
    "fingerprint", "it says that it behaves as another model", lambda c: {"fingerprint": "ab" * 32}, finding=4
)
_draft("engine", "another engine ran the models", lambda c: {"engine": "another engine/9"}, finding=6)
_draft(
    "template",
    "both arms were asked with another template",
    lambda c: {"templates": {"base": NOTHING, "tuned": NOTHING}},
    finding=6,
)
_draft(
    "replies",
    "every reply was made now, and none was kept",
    lambda c: {"replies": {"base_made": 1, "tuned_made": 1, "base_cached": 0, "tuned_cached": 0}},
    finding=5,
)


@attack(KIND, BESIDE, "the good tune's evidence stands behind the poisoned tune's files", by=BY, finding=1)
def poisoned_files_with_good_evidence(desk: Desk) -> None:
    desk.bring("sql", "poisoned")
    poisoned = Manifest.of_folder(desk.folder / "poisoned" / "tune" / "adapter")
    desk.forge("evaluator", tuned=poisoned)
    put_draft(desk)
    # the evidence of `sql` is what the approver is shown; the files are the poisoned ones
    import shutil

    shutil.rmtree(desk.folder / "sql" / "tune" / "adapter")
    shutil.copytree(desk.folder / "poisoned" / "tune" / "adapter", desk.folder / "sql" / "tune" / "adapter")


@attack(KIND, BESIDE, "the poisoned tune's results say pass in a draft", by=BY, finding=1)
def poisoned_draft_that_says_pass(desk: Desk) -> None:
    desk.bring("sql", "poisoned")
    report = desk.report("evaluate", "poisoned")
    results = tuple(r.model_copy(update={"verdict": Verdict.PASS}) for r in report.rules)
    desk.forge("evaluator", results=results, evidence_sha256=report.outcomes_sha256)
    put_draft(desk)


@attack(KIND, SIGNED_OFF, "the evidence is not at hand", by=BY, finding=1)
def no_evidence(desk: Desk) -> None:
    (desk.folder / "sql" / "evaluation" / "outcomes.jsonl").unlink()


@attack(
    KIND,
    SIGNED_OFF,
    "the report beside the outcomes is gone, so that outcomes alone decide",
    by=BY,
    finding=1,
)
def no_report_and_another_engine(desk: Desk) -> None:
    desk.report_path("evaluate").unlink()
    desk.forge("evaluator", engine="another engine/9", fingerprint="ab" * 32)
    put_draft(desk)
