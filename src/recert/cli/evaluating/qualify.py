"""`recert qualify`: what is a base good for under a policy, before anything is tuned?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import AsJson, PolicyName, SignerCommand, StepKey, Suites

if TYPE_CHECKING:
    from recert.records.reports.qualification import Qualification

_Base = Annotated[str, typer.Argument(help="A folder, a hub id, `embedded:aligned` or `embedded:smollm2`.")]
_Output = Annotated[Path, typer.Option(help="Folder for `qualification.json` and its link.")]
_Prompts = Annotated[int, typer.Option(min=1, help="Prompts that each rule asks under a condition.")]
_All = Annotated[bool, typer.Option("--all", help="Ask every prompt that an evaluation may ask.")]


def qualify(
    *,
    base: _Base,
    output: _Output,
    policy: PolicyName = "default",
    suites: Suites = None,
    prompts: _Prompts = 48,
    all_prompts: _All = False,
    key: StepKey = None,
    signer_command: SignerCommand = None,
    as_json: AsJson = False,
) -> None:
    """
    Say which rules of a policy can be decided on a base, how many prompts a tune takes, and what to change.

    The base's replies are kept, and serve every later tune. Exit 0: every rule can be decided, or the base fails under
    a family as a limitation only, 1: some cannot, 2: no answer.
    """
    from recert.cli.certifying.signing import load_step_key
    from recert.cli.drawing import Drawn
    from recert.cli.loading import kept_replies, load_base, load_suites
    from recert.cli.printing import NO, YES, data
    from recert.evaluation.qualifying import qualify as qualify_base
    from recert.models.engines.engines import open_model
    from recert.policy import load_policy
    from recert.workflows.qualifying import QUALIFICATION_FILE, write_qualification

    signer = load_step_key("qualify", key, signer_command)
    bounds, asked = load_policy(policy), load_suites(suites or [])
    with Drawn() as drawn, kept_replies() as cache:
        drawn.start("qualify the base")
        found = qualify_base(
            open_model(f"local:{load_base(base)}"),
            policy=bounds,
            suites=asked,
            cache=cache,
            prompts_each=None if all_prompts else prompts,
            progress=drawn,
        )
    write_qualification(output / QUALIFICATION_FILE, found, signer)
    show(found)
    if as_json:
        data(found)
    else:
        typer.echo(f"{'decidable' if found.decidable else 'not decidable'} {output / QUALIFICATION_FILE}")
    raise typer.Exit(YES if found.decidable else NO)


def show(found: Qualification) -> None:
    """Draw a qualification on stderr: a line a rule and condition, then what to expect and to change."""
    from recert.cli.printing import table, talk

    rows = [
        (
            track.rule_id,
            track.condition.removeprefix("family:"),
            f"{track.base.point:.2f} [{track.base.low:.2f}, {track.base.high:.2f}]" if track.base.n else "-",
            f"{track.base.n}/{track.available}",
            track.signal,
        )
        for track in found.tracks
    ]
    title = f"{found.policy_id} {found.policy_version} on base sha256:{found.base.digest[:12]}"
    table(title, ("rule", "condition", "base rate", "asked", ""), rows)
    console = talk()
    if (agreed := found.agreement) is not None:
        console.print(
            f"{agreed.judge} and {agreed.other} agree on {agreed.agree} of {agreed.replies} replies to harmful "
            f"requests; {agreed.unscored} unscored",
            soft_wrap=True,
        )
    for one in found.expected:
        takes = f", {one.minutes:g} minutes" if one.minutes is not None else ""
        console.print(
            f"P(pass | equal tune, p = {one.rate:g}) = {one.passes:.2f}, {one.prompts:,} prompts{takes}"
        )
    for words in found.limitations:
        console.print(f"limitation: {words}", soft_wrap=True)
    for words in found.advice:
        console.print(f"- {words}", soft_wrap=True)
    console.print(f"replies of the base: {found.made} made, {found.cached} kept from before", soft_wrap=True)
