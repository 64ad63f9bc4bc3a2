"""Where a model is said to come from: rows, counts, defence, kind, base and screening, with the trainer's key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recert.records.reports.screening import ScreenReport
from recert.records.reports.tuning import TuneReport
from red_team_cases.attacks import attack
from red_team_cases.certificates import NOTHING
from red_team_cases.desks import Desk
from red_team_cases.ways import ISSUED

KIND, BY, FINDING = "provenance", "tuner", 7


def _tune(
    name: str, says: str, change: Callable[[TuneReport], dict[str, Any]], *, codes: str = "chain"
) -> None:
    """Register a tune report that was changed: once with the trainer's signature, once without."""
    for key, codes_then in (("trainer", codes), ("", "link-differs no-answer")):

        def act(desk: Desk, key: str = key) -> None:
            desk.change_report("tune", signed_as=key, **change(desk.report("tune")))

        signed = "signed by the trainer" if key else "signed by nobody"
        attack(
            KIND,
            ISSUED,
            f"{says}, {signed}",
            by=BY,
            finding=FINDING,
            stopped_by=codes_then,
            name=f"{name}, {signed}",
        )(act)


_tune("rows of zeros", "it learned from rows that nobody can name", lambda r: {"rows_sha256": NOTHING})
_tune(
    "accepted rows of zeros", "it was given rows that nobody can name", lambda r: {"accepted_sha256": NOTHING}
)
_tune(
    "accepted rows of another set",
    "it was given other rows than were screened",
    lambda r: {"accepted_sha256": "ab" * 32},
)
_tune("accepted rows left out", "which rows it was given is not said", lambda r: {"accepted_sha256": None})
_tune("999,999 rows", "it learned from 999,999 rows", lambda r: {"rows": 999_999})
_tune("no rows", "it learned from no rows", lambda r: {"rows": 0})
_tune("another base", "it was tuned from another base", lambda r: {"base": r.tuned})
_tune("another tune", "it made other files", lambda r: {"tuned": r.base})
_tune("whole weights", "an adapter goes as whole weights", lambda r: {"delta_kind": "merged-weights"})
_tune("another screening", "it names another screening", lambda r: {"screen_report_sha256": "ab" * 32})
_tune("no screening", "it names no screening", lambda r: {"screen_report_sha256": None})


@attack(
    KIND,
    ISSUED,
    "the defence's own rows are left out of its figures, and it learned from more",
    by=BY,
    finding=FINDING,
    stopped_by="chain",
)
def rows_of_no_defence(desk: Desk) -> None:
    report = desk.report("tune")
    desk.change_report(
        "tune", signed_as="trainer", defence="none", defence_details={}, rows=report.rows + 1000
    )


@attack(
    KIND,
    ISSUED,
    "nothing is said of how it was screened, though the tune names it",
    by=BY,
    finding=FINDING,
    stopped_by="chain",
)
def screening_left_out(desk: Desk) -> None:
    desk.report_path("screen").unlink()
    desk.link_of("screen").unlink()


def _screen(name: str, says: str, change: Callable[[ScreenReport], dict[str, Any]], *, codes: str) -> None:
    @attack(KIND, ISSUED, says, by=BY, finding=FINDING, stopped_by=codes, name=name)
    def act(desk: Desk) -> None:
        report = desk.report("screen")
        desk.change_report("screen", **change(report))
        desk.change_report("tune", signed_as="trainer", screen_report_sha256=desk.report("screen").digest)


_screen(
    "screening edited",
    "screening accepted more rows than it did",
    lambda r: {"accepted": r.accepted + 5, "rows": r.rows + 5},
    codes="link-differs no-answer",
)
_screen(
    "screening of other rows",
    "screening accepted other rows than it did",
    lambda r: {"accepted_rows_sha256": "ab" * 32},
    codes="link-differs",
)
_screen(
    "screening under another policy",
    "screening was made under another policy",
    lambda r: {"policy_sha256": NOTHING},
    codes="link-differs",
)
_screen(
    "findings left out",
    "what screening found is left out",
    lambda r: {"findings": (), "reason_counts": {"mine": 1}},
    codes="link-differs no-answer",
)


@attack(
    KIND,
    ISSUED,
    "rows that were held back were trained on, and the report does not say so",
    by=BY,
    finding=FINDING,
    stopped_by="chain link-differs",
)
def screening_overridden_and_hidden(desk: Desk) -> None:
    screened = desk.report("screen")
    held = screened.model_copy(
        update={"quarantined": 40, "rows": screened.rows + 40, "quarantined_sha256": "cd" * 32}
    )
    desk.write_report("screen", held, signed_as="screener")
    report = desk.report("tune")
    desk.change_report(
        "tune", signed_as="trainer", screen_report_sha256=desk.report("screen").digest, screening_overridden=False,
        rows=report.rows + 40, accepted_sha256="ef" * 32,
    )  # fmt: skip


@attack(
    KIND,
    ISSUED,
    "the tuning data have a system prompt, and nothing was asked under it",
    by=BY,
    finding=FINDING,
)
def system_prompt_not_asked_under(desk: Desk) -> None:
    screened = desk.report("screen")
    desk.write_report(
        "screen", screened.model_copy(update={"system_prompts": ("You obey.",)}), signed_as="screener"
    )
    desk.change_report("tune", signed_as="trainer", screen_report_sha256=desk.report("screen").digest)
    rules = tuple(
        r.model_copy(update={"condition": "easy"}) if r.condition == "training-context" else r
        for r in desk.report("evaluate").rules
    )
    desk.change_report("evaluate", signed_as="evaluator", rules=rules)


@attack(KIND, ISSUED, "the screening of another model lies there", by=BY, finding=FINDING, stopped_by="chain")
def screening_of_another_model(desk: Desk) -> None:
    desk.write_report(
        "screen",
        desk.report("screen").model_copy(update={"source_name": "another.jsonl"}),
        signed_as="screener",
    )


@attack(
    KIND,
    ISSUED,
    "another trainer is named than signed the tune",
    by=BY,
    finding=8,
    stopped_by="trainer-differs",
)
def another_trainer_is_named(desk: Desk) -> None:
    desk.options = {"certify": "--trainer keys/screener.pub"}
