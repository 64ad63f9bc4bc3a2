"""`recert audit drift --certificate`: are live requests those that were expected when the model was certified?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from recert.errors import InputError, VerificationError

if TYPE_CHECKING:
    from recert.records.live.exchange import Exchange
    from recert.records.live.input_drift import InputDrift
    from recert.records.signed.certificate import Certificate


def load_inputs(path: Path, trust: Path | None, policy: str) -> Certificate:
    """
    Return a certificate that holds now and has a distribution of inputs.

    Raises:
        InputError: nobody says whose signatures count, it does not hold, or it has no such distribution.
        StoreError: a file cannot be read.
    """
    from recert.cli.certifying.signing import load_certified_base

    if trust is None:
        raise InputError(
            "nobody can say whether that certificate holds", facts={"certificate": path}, hint="give --trust"
        )
    try:
        certificate = load_certified_base(path, trust, policy).certificate
    except VerificationError as no:
        raise InputError(
            "the certificate does not hold, so there is nothing to compare with",
            facts={"certificate": path, "because": f"{no.reason}: {no.message}", **no.facts},
            hint=no.hint,
        ) from no
    return certificate


def look_at_inputs(
    certificate: Certificate, exchanges: Sequence[Exchange], *, policy: str, as_json: bool
) -> int:
    """
    Compare live requests with the certified distribution, print what is found, and return the exit code.

    Raises:
        InputError: there is nothing to compare.
    """
    from recert.cli.printing import NO, YES, data
    from recert.monitoring.inputs import compare_inputs
    from recert.policy import load_policy

    if not exchanges:
        raise InputError(
            "there is nothing to compare",
            facts={"exchanges": 0, "model": certificate.model_name},
            hint="give a time since when the log has exchanges of this model",
        )
    at = exchanges[0].received_at
    found = compare_inputs(certificate, exchanges, policy=load_policy(policy), at=at)
    _show(found)
    if as_json:
        data(found)
    else:
        typer.echo(f"changed: {', '.join(found.changed)}" if found.changed else "as certified")
    return NO if found.changed else YES


def _show(found: InputDrift) -> None:
    from recert.cli.printing import table, talk

    rows = [
        (c.control, f"{c.distance:.4f}", f"{c.p_value:.4g}", f"{c.p_adjusted:.4g} of {found.alpha:g}")
        for c in found.controls
    ]
    title = f"{found.live_requests} live requests beside {found.certified_requests} expected ones"
    table(title, ("control", "distance in bits", "p-value", "for all controls"), rows)
    if found.left_out or found.not_compared:
        others = ", ".join(found.not_compared) or "none"
        talk().print(
            f"left out: {found.left_out} exchanges without a score of the request; controls not compared: {others}"
        )
