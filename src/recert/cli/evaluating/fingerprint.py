"""`recert fingerprint`: what tells a server that gives no files from other models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recert.cli.options import (
    DEFAULT_BASE,
    AsJson,
    Base,
    Certificate,
    PolicyName,
    Secret,
    Status,
    Trust,
    Tuned,
)

if TYPE_CHECKING:
    from recert.records.signed.fingerprint import Fingerprint

Key = Annotated[Path, typer.Option(help="The evaluator's private key.")]
Output = Annotated[Path, typer.Option(help="Where the signed fingerprint is written.")]
Probes = Annotated[
    Path, typer.Option(help="Where the probes are written, a new file of mode 0600: keep it secret.")
]
Others = Annotated[
    list[Path] | None,
    typer.Option(
        help="Another model that a server must not pass for, beside the base: an adapter's folder, or merged weights. "
        "May be repeated.",
    ),
]
Prompts = Annotated[
    Path | None,
    typer.Option(help="Requests of your own to draw probes from, one a line; by default they are made up."),
]
Count = Annotated[int, typer.Option(min=12, help="How many probes.")]
Compare = Annotated[
    str, typer.Option(help="`log-probs`, or `answers` for a server that gives no log probabilities.")
]
Top = Annotated[
    int, typer.Option(min=2, max=64, help="Tokens that the server names at each place, at least.")
]


def fingerprint(
    *,
    certificate: Certificate,
    model: Tuned,
    trust: Trust,
    key: Key,
    output: Output,
    probes: Probes,
    base: Base = DEFAULT_BASE,
    status: Status = None,
    policy: PolicyName = "default",
    secret: Secret = None,
    other: Others = None,
    prompts: Prompts = None,
    count: Count = 120,
    compare: Compare = "log-probs",
    top: Top = 20,
    as_json: AsJson = False,
) -> None:
    """
    Make the fingerprint of a certified model, by which `recert serve` knows it on a server that gives no files.

    The certified files are asked here. Exit 0: made, 1: refused, or the probes do not tell it apart, 2: no answer.
    """
    from recert.certification import TrustStore, load_key, refusals_beside, verify
    from recert.cli.loading import load_base, load_secret, load_status
    from recert.cli.printing import NO, data, talk
    from recert.errors import InputError
    from recert.policy import load_policy
    from recert.store.files.writing import read_bytes, write_atomic
    from recert.workflows.deploy.fingerprinting import Asked, make_fingerprint

    kinds: dict[str, Literal["log-probs", "answers"]] = {"log-probs": "log-probs", "answers": "answers"}
    if compare not in kinds:
        raise InputError("no such comparison", facts={"given": compare}, hint="log-probs or answers")
    bounds = load_policy(policy)
    verified = verify(
        read_bytes(certificate, "certificate"),
        base_dir=load_base(base),
        tuned_dir=model,
        trust=TrustStore.load(trust),
        status=load_status(certificate, status),
        policy=bounds,
        refusals=refusals_beside(certificate),
    )
    own = read_bytes(prompts, "prompts").decode("utf-8", "replace").splitlines() if prompts else None
    console = talk()
    made = make_fingerprint(
        verified,
        policy=bounds,
        signer=load_key(key),
        secret=load_secret(secret),
        others=other or (),
        asked=Asked(count, kinds[compare], top=top, prompts=own),
        progress=lambda line: console.print(line, soft_wrap=True),
    )
    if made.fingerprint is None or made.probes is None:
        typer.echo(made.reason)
        raise typer.Exit(NO)
    made.probes.write(probes)
    write_atomic(output, made.envelope)
    if as_json:
        data(made.fingerprint)
        return
    console.print(_said(made.fingerprint), soft_wrap=True)
    typer.echo(output)


def _said(found: Fingerprint) -> str:
    trials = [f"{t.name}: {t.unlike} of {t.probes} probes unlike" for t in (found.same, *found.others)]
    chances = (
        f"each comparison asks {found.asked} probes, and {found.alarm_at} unlike ones are another model: a false alarm "
        f"has a chance of at most {found.false_alarm:.1g}, a miss of at most {found.miss:.1g}"
    )
    return "\n".join([*trials, chances])
