"""`recert audit certificate`: does a certificate follow from its evidence?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recert.cli.options import AsJson, Certificate, Evidence, Suites

if TYPE_CHECKING:
    from recert.evaluation.report.rejudging import Rejudged
    from recert.policy import Policy
    from recert.records.data.suite import Suite
    from recert.records.signed.certificate import Certificate as Content


def audit_certificate(
    *,
    certificate: Certificate,
    evidence: Evidence = None,
    suites: Suites = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Policy that decided, as a TOML file; a shipped profile is found by itself."),
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option(help="Trusted keys: each step's link must be signed by one, in the step's role."),
    ] = None,
    link: Annotated[
        list[Path] | None,
        typer.Option(
            help="Link of a step, such as `tune.link.json`; repeat it. Those in --evidence are found."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    Derive everything that a certificate says from its evidence again, and judge the recorded replies again.

    It needs no model, no GPU and no private key. Who signed the certificate, and whether it holds now, is for
    `recert verify` to say.

    Exit 0: it follows from its evidence, 1: it does not, with every difference, 2: no answer.
    """
    from recert.certification import read_unverified
    from recert.cli.certifying.signing import load_policy_of
    from recert.cli.loading import load_suites
    from recert.cli.printing import NO, YES, table
    from recert.errors import PolicyError
    from recert.store.files.writing import read_bytes
    from recert.workflows.audited_steps import read_audited_steps
    from recert.workflows.deriving import require_evidence, why_not_from_evidence

    said = read_unverified(read_bytes(certificate, "certificate"))
    decided = load_policy_of(said, policy)
    if decided is None:
        raise PolicyError(
            "the policy that decided is not at hand",
            facts={"policy": said.policy_id, "sha256": said.policy_sha256},
            hint="give it with --policy",
        )
    folder, given = require_evidence(certificate, evidence), load_suites(suites or [])
    steps = read_audited_steps(said, [*sorted(folder.glob("*.link.json")), *(link or [])], trust)
    reasons = (*why_not_from_evidence(said, folder, policy=decided, suites=given), *steps.reasons)
    again = _rejudged(said, folder, decided, given)
    follows = not reasons and not again.differing
    if as_json:
        typer.echo(json.dumps(_value(said, reasons, again, follows=follows), sort_keys=True))
        raise typer.Exit(YES if follows else NO)
    table(
        f"Certificate {said.serial} of {said.model_name}",
        ("what", "answer", "how"),
        [*_rows(said, reasons, again), steps.row],
    )
    for words in (*reasons, *again.differences):
        typer.echo(words)
    typer.echo("the verdict follows from the evidence" if follows else "it does not follow from the evidence")
    raise typer.Exit(YES if follows else NO)


def _rejudged(said: Content, folder: Path, policy: Policy, given: dict[str, Suite]) -> Rejudged:
    """Recorded replies judged again, those that were harmful too where they are at hand."""
    from recert.errors import RecertError
    from recert.evaluation.report.folder import EvaluationFolder
    from recert.evaluation.report.outcomes import read_outcomes
    from recert.evaluation.report.rejudging import rejudge
    from recert.evaluation.stage import HARMFUL_FILE, OUTCOMES_FILE
    from recert.evaluation.suites.reading import find_suites

    found = find_suites(folder, {note.name: note.sha256 for note in said.suites or ()}, given)
    asked: dict[str, Any] = {"policy": policy, "suites": found, "judges": said.judges}
    try:
        outcomes = EvaluationFolder.open(folder, with_harmful=(folder / HARMFUL_FILE).exists()).outcomes()
        return rejudge(outcomes, **asked)
    except RecertError:  # no report beside, or harmful replies that nobody may read: what is shown is judged
        return rejudge(read_outcomes(folder / OUTCOMES_FILE), **asked)


def _rows(said: Content, reasons: tuple[str, ...], again: Rejudged) -> list[tuple[str, str, str]]:
    prompts = sum(note.prompts for note in said.suites or ())
    replies = said.replies or {}
    kept = sum(count for name, count in replies.items() if name.endswith("_cached"))
    asked = sum(count for name, count in replies.items() if name.endswith(("_made", "_cached")))
    return [
        (
            "results and verdicts",
            "follow" if not reasons else "do not follow",
            f"{len(said.results)} results derived from the outcomes again",
        ),
        ("prompts", f"{prompts}", ", ".join(f"{n.name} {n.sha256[:12]}" for n in said.suites or ())),
        (
            "replies judged again",
            f"{again.judged}" if not again.differing else f"{again.differing} of {again.judged} differ",
            f"{again.hidden} are not shown, and were not judged",
        ),
        (
            "replies kept from before",
            f"{kept} of {asked}",
            "taken from a cache and not made for this evaluation",
        ),
    ]


def _value(said: Content, reasons: tuple[str, ...], again: Rejudged, *, follows: bool) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "serial": said.serial,
        "follows": follows,
        "reasons": list(reasons),
        "results": len(said.results),
        "rejudged": asdict(again),
    }
