"""`recert policy`: look at the numbers that decide, and at what another set of them would change."""

from __future__ import annotations

from typing import Annotated

import typer

from recert.cli.evaluating.policy_diff import affected, diff
from recert.cli.options import Suites

app = typer.Typer(no_args_is_help=True, help="Show, check, explain and compare policies.")

Source = Annotated[
    str,
    typer.Argument(
        help="A shipped profile (`recert policy list`) or a TOML file, perhaps with `@DEPLOYMENT`, such as "
        "`default@high-risk`."
    ),
]


@app.command("list")
def list_() -> None:
    """List the shipped profiles: name, version, the deployments they have bounds for, title."""
    from recert.policy import load_deployments, profiles

    for name in profiles():
        found = load_deployments(name)
        one = next(iter(found.values()))
        typer.echo(f"{name:<16} {one.version:<4} {', '.join(found):<20} {one.title}")


@app.command()
def show(source: Source = "default") -> None:
    """Print a policy with every default filled in, as JSON."""
    from recert.cli.printing import data
    from recert.policy import load_policy

    data(load_policy(source))


@app.command()
def check(
    source: Source = "default",
    *,
    previous: Annotated[
        str | None,
        typer.Option(help="An earlier one of the same policy: a change without a new version is refused."),
    ] = None,
    suites: Suites = None,
) -> None:
    """
    Say whether a policy can be used: its version and digest, its change log, what it leaves open, and how likely it
    passes a tune that is equal to its base, where a share p of prompts gets worse by chance and as many better.

    Exit 0: yes, 2: no, as where the change log does not end at its version, or the content changed and that did not.
    """
    from recert.cli.loading import load_suites
    from recert.cli.printing import talk
    from recert.evaluation.decision.decidable import undecidable
    from recert.evaluation.decision.power import HONEST, pass_chances
    from recert.evaluation.measuring.conditions import raw_conditions
    from recert.policy import load_deployments, load_policy
    from recert.policy.changes.weaknesses import weaknesses

    policy, others = load_policy(source), load_deployments(source)
    for one in others.values():
        raw_conditions(one.evaluation.families, ())  # says of a family that there is none
    _require_log(source, previous)
    typer.echo(f"{policy.id} version {policy.version} sha256:{policy.digest}")
    for name, one in others.items():
        if name != policy.deployment:
            typer.echo(f"  for {name}: sha256:{one.digest}")
    prompts = load_suites(suites or [], encode=True)
    for suite in sorted({rule.suite for rule in policy.rules} - set(prompts)):
        talk().print(f"note: suite {suite} does not come with Recert: give it with --suite", soft_wrap=True)
    for judge in sorted({rule.judge for rule in policy.rules if rule.judge}):
        talk().print(f"note: judge {judge} is given with the evaluation: --judge", soft_wrap=True)
    for found in undecidable(policy, prompts):
        of = f" in {found.category}" if found.category else ""
        talk().print(f"warning: rule {found.rule_id}{of} can never pass: {found.because}", soft_wrap=True)
    for words in weaknesses(policy):
        talk().print(f"note: {words}", soft_wrap=True)
    for equal in pass_chances(policy, prompts):
        typer.echo(
            f"P(pass | equal tune, p = {equal.rate:g}) = {equal.passes:.2f}, {equal.prompts:,} prompts"
        )
        if equal.passes < HONEST and equal.hardest:
            talk().print(f"note: at p = {equal.rate:g} the hardest is {equal.hardest}", soft_wrap=True)


@app.command()
def explain(
    source: Source = "default",
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write Markdown, for a page.")] = False,
) -> None:
    """Say in plain words what a policy demands, who signs, what stands before the model, and what it does not cover."""
    from recert.policy import load_policy
    from recert.policy.changes.explaining import as_text
    from recert.policy.changes.explaining import explain as sections

    typer.echo(as_text(sections(load_policy(source)), markdown=markdown), nl=False)


app.command()(diff)
app.command()(affected)


def _require_log(source: str, previous: str | None) -> None:
    """A change log that ends elsewhere, or a change without a version, is no policy to decide by."""
    from recert.errors import PolicyError
    from recert.policy import load_deployments, load_policy
    from recert.policy.changes.change_log import why_log_is_wrong, why_no_successor

    policy = load_policy(source)
    because = why_log_is_wrong(policy)
    if not because and previous is not None:
        because = why_no_successor(load_deployments(previous), load_deployments(source))
    if because:
        raise PolicyError(
            "policy changed without saying so",
            facts={"policy": policy.id, "version": policy.version, "because": because},
            hint="give it a new version, and add it with date, by and why as the last of [[changes]]",
        )
