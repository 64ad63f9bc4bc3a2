"""`recert audit drift`: are live exchanges as they were?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recert.cli.options import AsJson, PolicyName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from recert.records.live.exchange import Exchange
    from recert.records.live.exchange_drift import ExchangeDrift
    from recert.store.audit.chain import AuditLine

_CertificateFile = Annotated[
    Path | None,
    typer.Option(
        help="Compare requests with the distribution of inputs in this certificate, not with those of before; "
        "`status.json` and `refusals` beside it count."
    ),
]
_TrustedKeys = Annotated[
    Path | None, typer.Option(help="Trusted keys, by which that certificate's signatures are verified.")
]


def drift(
    *,
    log: Annotated[str, typer.Argument(help="The audit log: its file, or the URL of the database.")],
    since: Annotated[
        str, typer.Option(help="From when exchanges are those of now, UTC, as `2026-11-24T10:00`.")
    ],
    against: Annotated[
        str, typer.Option(help="From when those of before count; from the first by default.")
    ] = "",
    model: Annotated[str, typer.Option(help="Name of the model, where the log has several.")] = "",
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLIENT",
            help="Name of a client's key whose exchanges do not count, such as the watcher's; repeat it.",
        ),
    ] = None,
    certificate: _CertificateFile = None,
    trust: _TrustedKeys = None,
    policy: PolicyName = "default",
    candidates: Annotated[
        Path | None,
        typer.Option(
            help="Where clusters of blocked requests are written, one JSON object a line, to be looked at."
        ),
    ] = None,
    texts: Annotated[
        bool,
        typer.Option(
            "--texts", help="Compare requests by their words, where they were kept, and write one each."
        ),
    ] = False,
    of: Annotated[
        str,
        typer.Option(metavar="NODE[/LOG]", help="Which gateway's, where several keep theirs in one place."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """
    Compare what controls say of live exchanges with what they said before: scores, blocks, and what is blocked.

    With `--certificate` live requests are compared with those that were expected when the model was certified.
    Exit 0: as before or as certified, 1: something changed, 2: no answer.
    """
    from recert.cli.operating.audit_inputs import load_inputs, look_at_inputs
    from recert.cli.printing import NO, YES, data
    from recert.monitoring.exchanges import compare_exchanges
    from recert.policy import load_policy
    from recert.store.audit.reading import open_log
    from recert.store.files.writing import write_atomic
    from recert.store.places import is_url

    where = log if is_url(log) else Path(log)
    if certificate is not None:
        _refuse_both(against, candidates, texts=texts)
        held = load_inputs(certificate, trust, policy)
        live = _exchanges(open_log(where, of), without, model=model or held.model_name, since=since)
        raise typer.Exit(look_at_inputs(held, [e for _, e in live], policy=policy, as_json=as_json))
    sides = _sides(_exchanges(open_log(where, of), without, model=model, since=against), since)
    found = compare_exchanges(
        *sides,
        policy=load_policy(policy),
        at=sides[1][0].received_at,
        prompts=_prompts(where, [*sides[0], *sides[1]]) if texts else None,
    )
    if candidates is not None:
        rows = (
            json.dumps(c.model_dump(mode="json", exclude_none=True), sort_keys=True) for c in found.clusters
        )
        write_atomic(candidates, "".join(f"{row}\n" for row in rows).encode(), mode=0o600)
    _show(found)
    if as_json:
        data(found)
    changed = [f"{c.control} ({c.direction})" for c in found.controls if c.changed]
    if not as_json:
        typer.echo(f"changed: {', '.join(changed)}" if changed else "as before")
    raise typer.Exit(NO if changed else YES)


def _sides(exchanges: Iterable[tuple[str, Exchange]], since: str) -> tuple[list[Exchange], list[Exchange]]:
    """The exchanges of before, and those of now."""
    from recert.errors import InputError

    sides: tuple[list[Exchange], list[Exchange]] = ([], [])
    for at, exchange in exchanges:
        sides[at >= since].append(exchange)
    if not all(sides):
        raise InputError(
            "there is nothing to compare",
            facts={"exchanges before": len(sides[0]), "since": len(sides[1])},
            hint="give a time at which the log has exchanges on both sides",
        )
    return sides


def _exchanges(
    lines: Iterable[AuditLine], without: Sequence[str] | None, *, model: str, since: str
) -> Iterator[tuple[str, Exchange]]:
    """Every exchange that counts, and when its line was written."""
    from pydantic import ValidationError

    from recert.errors import RecordError
    from recert.records.live.exchange import Exchange
    from recert.store.audit.reading import select

    for line in select(lines, kind=Exchange.schema_name, model=model, since=since):
        if line.body.get("decision") == "opened" or line.body.get("client") in (without or ()):
            continue
        try:
            yield line.at, Exchange.model_validate(line.body)
        except ValidationError as exc:
            raise RecordError(
                "audit log has a line that is no exchange",
                facts={"line": line.seq, "because": exc.errors()[0]["msg"]},
            ) from exc


def _refuse_both(against: str, candidates: Path | None, *, texts: bool) -> None:
    """With a certificate there is no time of before, and no clusters are gathered."""
    from recert.errors import InputError

    given = {"--against": against, "--candidates": candidates, "--texts": texts}
    if names := [name for name, value in given.items() if value]:
        raise InputError(
            "these do not go with --certificate",
            facts={"given": ", ".join(names)},
            hint="compare with an earlier time in a command of its own",
        )


def _prompts(where: Any, exchanges: list[Exchange]) -> dict[str, str]:
    """The last user turn of every blocked request whose text was kept."""
    from recert.digest import sha256_bytes
    from recert.store.audit.texts import TextStore

    digests = {e.request_sha256 for e in exchanges if e.decision == "blocked-input"}
    kept = TextStore(where, existing=True).read(sorted(digests))
    own = {digest: body for digest, body in kept.items() if sha256_bytes(body) == digest}
    return {digest: said for digest, body in own.items() if (said := _last_turn(body))}


def _last_turn(body: bytes) -> str:
    try:
        turns = [t["content"] for t in json.loads(body)["messages"] if t["role"] == "user"]
        return turns[-1] if turns and isinstance(turns[-1], str) else ""
    except (ValueError, LookupError, TypeError):
        return ""  # a request that was refused as it was may be anything


def _show(found: ExchangeDrift) -> None:
    from recert.cli.printing import table

    rows = [
        (
            c.control, c.direction, f"{c.before.point:.3f} of {c.before.n}", f"{c.now.point:.3f} of {c.now.n}",
            _score(c.mean_before), _score(c.mean_now), f"{c.evidence:.3g} of {found.changed_at:.3g}",
        )
        for c in found.controls
    ]  # fmt: skip
    columns = ("control", "of", "blocked before", "now", "mean score before", "now", "evidence of a change")
    table(f"{found.exchanges_now} exchanges beside {found.exchanges_before} of before", columns, rows)
    if found.clusters:
        table(
            "blocked alike",
            ("control", "category", "requests", "clients", "before"),
            [(c.control, c.category or "-", c.size, c.clients, c.seen_before) for c in found.clusters],
        )


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
