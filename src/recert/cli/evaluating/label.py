"""`recert label`: what people say of an evaluation's replies."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import SignerCommand, StepKey, Suites

if TYPE_CHECKING:
    from recert.evaluation.labels.files import LabellerFile
    from recert.records.reports.labels import LabelledEstimand
    from recert.workflows.labelling.stage import Labelling, ToLabel


class About(StrEnum):
    """What replies are labelled for."""

    HARM = "harm"
    OVER_REFUSAL = "over-refusal"

    @property
    def estimand(self) -> LabelledEstimand:
        """The estimand's name."""
        return "harm" if self is About.HARM else "over_refusal"


def label(
    *,
    evaluation: Annotated[
        Path, typer.Argument(help="The evaluation's folder, as `recert evaluate` wrote it.")
    ],
    labeller: Annotated[
        str,
        typer.Option(
            help="Who labels: a name; or `judge:NAME` or `judge:NAME=MODEL`, as for `--judge`; or `guard:ID=MODEL`."
        ),
    ] = "",
    replies: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="Replies of each arm; by default as many as can decide, 60 to 600. Give more to go on with a multiple "
            "of 20.",
        ),
    ] = None,
    about: Annotated[
        About,
        typer.Option(
            help="Label replies to requests that should be refused (`harm`) or answered (`over-refusal`)."
        ),
    ] = About.HARM,
    decide: Annotated[
        bool,
        typer.Option("--decide", help="Write the report anew, as the labels decide it; needs no labeller."),
    ] = False,
    policy: Annotated[str, typer.Option(help="The policy that decided, where it is not a shipped one.")] = "",
    suites: Suites = None,
    key: StepKey = None,
    signer_command: SignerCommand = None,
) -> None:
    """
    Label a random sample of replies, without seeing which model gave them.

    Every key press is kept at once: quit when you like, and go on later, here or in the console. A second labeller gets
    the same replies. With `--decide` harm or over-refusal, or both, are decided by the labels, whatever the judge does.
    Labels that decided stay as they are: you may add to them and decide again, and not label anew until it passes.

    Exit 0: labelled, or decided and within policy, 1: decided and not, 2: no answer.
    """
    from recert.cli.loading import load_suites
    from recert.cli.printing import talk
    from recert.errors import InputError
    from recert.policy import load_policy
    from recert.workflows.labelling.stage import Labelling

    if not labeller and not decide:
        raise InputError("nobody labels", hint="give --labeller NAME, or --decide once somebody has labelled")
    bounds = load_policy(policy) if policy else None
    work = Labelling(evaluation, policy=bounds, suites=load_suites(suites or []))
    if labeller:
        many = work.replies(replies)
        work.require_open(many, about.estimand)
        passing, results = work.promise(many, about.estimand)
        talk().print(
            f"{many} replies an arm: with these {passing} of {results} results on {about} can pass, if the labels "
            "agree with the judge",
            soft_wrap=True,
        )
        file = _label(work, labeller, many, about.estimand)
        total = len(work.sample(many, about.estimand))
        talk().print(
            f"{len(file.labels)} of {total} replies are labelled by {file.name}: {file.path}", soft_wrap=True
        )
        if len(file.labels) < total:
            raise typer.Exit(0)
        _show_agreement(work)
    if decide:
        _decide(work, key, signer_command)


def _label(work: Labelling, labeller: str, many: int, about: LabelledEstimand) -> LabellerFile:
    from recert.errors import InputError
    from recert.workflows.labelling.stage import label_by

    sample = work.sample(many, about)
    if not sample:
        raise InputError(
            "no two different replies were judged for it: nothing to label", facts={"about": about}
        )
    shown = work.shown(sample)
    kind, _, name = labeller.partition(":")
    if kind not in ("judge", "guard") or not name:
        file = work.file_of(labeller, "person", many, about)
        _ask(shown, file)
        return file
    from recert.cli.loading import load_judges

    (judge,) = load_judges([name], []).also
    if about == "over_refusal" and judge.note.estimand != "refusal":
        facts = {"judge": judge.note.id, "it scores": judge.note.estimand}
        raise InputError("only a judge of refusals can label over-refusal", facts=facts)
    file = work.file_of(f"{kind}:{judge.note.id}", "judge", many, about)
    label_by(judge, shown, file)
    return file


def _ask(shown: list[ToLabel], file: LabellerFile) -> None:
    """Show one reply after the other until all are labelled or somebody quits."""
    import sys

    from recert.cli.printing import plain, talk
    from recert.errors import InputError
    from recert.workflows.labelling.words import CHOICES, NOTICES

    if not sys.stdin.isatty():
        raise InputError(
            "labelling needs a terminal to press keys in",
            hint="run it in one, or let a judge stand in: --labeller judge:NAME=MODEL",
        )
    choices = CHOICES[file.about]
    keys = {one.key: one.label for one in choices}
    menu = "   ".join(f"{one.key} {one.name.lower()}" for one in choices)
    if file.left(len(shown)):
        talk().print(NOTICES[file.about], soft_wrap=True)
        for choice in choices:
            talk().print(f"  {choice.name.lower()}: {choice.when}", soft_wrap=True)
    while (at := file.next(len(shown))) < len(shown):
        one = shown[at]
        typer.echo(f"\n--- {at + 1} of {len(shown)} " + "-" * 40)
        typer.echo(f"request  {_wrapped(plain(one.request))}")
        typer.echo(f"reply    {_wrapped(plain(one.reply))}")
        typer.echo(f"\n{menu}   b take the last one back   q quit")
        try:
            pressed = typer.getchar().lower()
        except (EOFError, KeyboardInterrupt):
            pressed = "q"
        if pressed in ("q", "\x03", "\x04", ""):
            return
        if pressed in ("b", "\x1b[d"):
            file.undo()
        elif pressed in keys:
            file.set(at, keys[pressed])


def _wrapped(text: str) -> str:
    from textwrap import wrap

    lines = [part for line in text.splitlines() or [""] for part in wrap(line, 70) or [""]]
    return "\n         ".join(lines)


def _show_agreement(work: Labelling) -> None:
    from recert.cli.printing import talk
    from recert.errors import InputError

    try:
        note = work.checked(work.gathered()).note
    except InputError as exc:  # another labeller has not finished
        talk().print(str(exc))
        return
    if note.agreement is not None:
        talk().print(f"two labellers agree on {note.agreement:.0%}, kappa {note.kappa:.2f}")


def _decide(work: Labelling, key: Path | None, signer_command: str | None) -> None:
    from recert.cli.certifying.signing import load_step_key, sign_report
    from recert.cli.evaluating.evaluate import show_rules
    from recert.cli.printing import NO, YES, talk
    from recert.evaluation.labels.labelling import words_of
    from recert.evaluation.stage import REPORT_FILE
    from recert.records.reports.evaluation import Verdict
    from recert.workflows.attempts.ledger import Ledger

    signer = load_step_key("evaluate", key, signer_command)
    report = work.decide(work.gathered(), Ledger(None, signer))
    sign_report(work.folder / REPORT_FILE, report, signer)
    show_rules(report, work.policy)
    if report.labels is not None:
        for words in words_of(report.labels):
            talk().print(f"  {words}", soft_wrap=True)
    typer.echo(f"{report.verdict} {work.folder / REPORT_FILE}")
    raise typer.Exit(YES if report.verdict is Verdict.PASS else NO)
