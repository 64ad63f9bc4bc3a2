"""
`recert policy`: look at the numbers that decide, and at what another set of them would change.

Here too: `recert policy diff` and `affected`: what another policy, family or suite means for certificates that are out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import AsJson, Suites

if TYPE_CHECKING:
    from recert.policy import Policy
    from recert.policy.changes.comparing import HeldCertificate
    from recert.records.signed.policy_diff import PolicyDiff


Certificates = Annotated[
    Path,
    typer.Option(
        "--certificates", help="Folder with certificates, and evaluations beside them; or one certificate."
    ),
]
MaybeTrust = Annotated[
    Path | None,
    typer.Option(
        help="Trusted keys: certificates must be signed by one. Without it no signature is checked."
    ),
]
MaybeStatus = Annotated[
    Path | None, typer.Option(help="Newest status list: revoked and suspended certificates are not live.")
]


def diff(
    before: Annotated[str, typer.Argument(help="The policy that certificates are under.")],
    after: Annotated[str, typer.Argument(help="The policy that is to hold.")],
    *,
    certificates: Annotated[
        Path | None,
        typer.Option(help="Folder with certificates, and evaluations beside them; or one certificate."),
    ] = None,
    trust: MaybeTrust = None,
    status: MaybeStatus = None,
    as_json: AsJson = False,
) -> None:
    """
    Say what lies between two policies, which evidence still counts, which certificates become stale, at what cost.

    Exit 0: nothing becomes stale, 1: a certificate does, 2: no answer. Without --certificates 1 means that they differ.
    """
    from recert.cli.loading import load_suites
    from recert.policy import load_policy
    from recert.policy.changes.comparing import policy_diff
    from recert.policy.changes.reuse import Measuring
    from recert.workflows.suites_known import cut_short, known_suites

    prompts = load_suites([])
    measuring = Measuring(load_policy(before), load_policy(after), cut_short=cut_short(prompts))
    held = _held(certificates, trust, status, policy=after, version=measuring.after.version)
    found = policy_diff(measuring, held, known_suites(prompts))
    _tell(found, as_json=as_json)
    _tell_contacts(measuring.after, found)
    differs = found.before_sha256 != found.after_sha256
    raise typer.Exit(1 if (found.stale if certificates is not None else differs) else 0)


def affected(
    *,
    certificates: Certificates,
    policy: Annotated[
        str, typer.Option("--policy", help="The policy that the certificates are under.")
    ] = "default",
    family: Annotated[
        str | None, typer.Option(help="An attack family that the policy does not ask for yet.")
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(metavar="NAME=FILE", help="A new version of a suite that the policy's rules name."),
    ] = None,
    trust: MaybeTrust = None,
    status: MaybeStatus = None,
    as_json: AsJson = False,
) -> None:
    """
    Say which live certificates a new attack family or a new version of a suite concerns, and how to measure only that.

    Exit 0: none, 1: some, 2: no answer.
    """
    from recert.cli.loading import load_suites
    from recert.cli.printing import talk
    from recert.errors import InputError
    from recert.evaluation.families.families import FAMILIES
    from recert.policy import load_policy
    from recert.policy.changes.comparing import policy_diff
    from recert.policy.changes.knowledge import with_family, with_suite
    from recert.workflows.suites_known import cut_short, known_suites

    if (family is None) == (suite is None):
        raise InputError("give a family or a suite", hint="--family NAME, or --suite NAME=FILE")
    bounds, prompts = load_policy(policy), load_suites([suite] if suite else [])
    names = [suite.partition("=")[0]] if suite else []
    measuring = with_family(bounds, family) if family else with_suite(bounds, names[0], cut_short(prompts))
    measured = known_suites(prompts, names)
    held = _held(
        certificates, trust, status, policy=policy, version=bounds.version, suites=[suite] if suite else []
    )
    found = policy_diff(measuring, held, measured)
    if family and not as_json:
        if family not in FAMILIES:
            talk().print(f"note: this version of Recert has no family {family}: evaluating will refuse it")
        typer.echo(
            f'1. in {policy}: add "{family}" to [evaluation] families, a version and its line in [[changes]]'
        )
        typer.echo("2. for each certificate below, the commands under it")
    _tell(found, as_json=as_json)
    _tell_contacts(bounds, found)
    raise typer.Exit(1 if found.stale else 0)


def _held(
    folder: Path | None,
    trust: Path | None,
    status: Path | None,
    *,
    policy: str,
    version: str,
    suites: Sequence[str] = (),
) -> list[HeldCertificate]:
    from recert.certification import TrustStore
    from recert.certification.status.register import find_certificates
    from recert.cli.printing import talk
    from recert.policy.changes.comparing import HeldCertificate
    from recert.records.record import now
    from recert.store.files.writing import read_bytes
    from recert.workflows.rerun import commands_again

    if folder is None:
        return []
    if trust is None:
        talk().print("signatures were not checked: give --trust to plan with signed certificates only")
    listed = read_bytes(status, "status list") if status else None
    found = find_certificates(
        folder, trust=TrustStore.load(trust) if trust else None, status=listed, now=now()
    )
    return [
        HeldCertificate(
            file=str(one.path),
            certificate=one.certificate,
            report=one.report,
            ended=one.ended,
            doubt=one.doubt,
            commands=commands_again(one, policy=policy, version=version, suites=suites),
        )
        for one in found
    ]


def _tell(found: PolicyDiff, *, as_json: bool) -> None:
    from recert.cli.printing import data

    if as_json:
        data(found)
        return
    for change in found.changes:
        typer.echo(change.words)
    for rule in found.rules:
        behind = f", behind controls: {rule.reuse_behind_controls}"
        other = behind if rule.reuse_behind_controls != rule.reuse else ""
        because = f" ({'; '.join(rule.because)})" if rule.because else ""
        typer.echo(f"{rule.reuse:<6} {rule.rule_id} under {', '.join(rule.conditions)}{other}{because}")
    for words in found.consequences:
        typer.echo(f"note: {words}")
    for one in found.certificates:
        typer.echo(f"{one.answer:<8} {one.model_name} {one.serial} {one.file}")
        for words in one.because:
            typer.echo(f"         {words}")
        if one.replies:
            typer.echo(
                f"         asks at most {_cost(one.prompts_base, one.prompts_tuned, one.replies, one.seconds)}"
            )
        for command in one.commands:
            typer.echo(f"         $ {command}")
    if found.certificates:
        cost = _cost(found.prompts_base, found.prompts_tuned, found.replies, found.seconds)
        typer.echo(
            f"{len(found.stale)} of {len(found.certificates)} certificates must be made anew; at most {cost}"
        )


def _cost(base: int, tuned: int, replies: int, seconds: float | None) -> str:
    time = "time not known" if seconds is None else f"about {seconds:.0f} s"
    return f"{base} prompts of the base and {tuned} of tuned models, {replies} replies, {time}"


def _tell_contacts(policy: Policy, found: PolicyDiff) -> None:
    from recert.cli.printing import talk

    for contact in policy.contacts if found.stale else ():
        talk().print(f"tell the {contact.role}: {' '.join(filter(None, (contact.name, contact.reach)))}")


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
