"""`recert audit drift`: are live exchanges as they were?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recert.cli.options import AsJson, PolicyName

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recert.records import Exchange, ExchangeDrift
    from recert.store.audit_chain import AuditLine


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

    Exit 0: as before, 1: something changed, 2: no answer.
    """
    from recert.cli.printing import NO, YES, data
    from recert.monitoring.exchanges import compare_exchanges
    from recert.policy import load_policy
    from recert.records import Exchange
    from recert.store.audit_reading import open_log, select
    from recert.store.files import write_atomic
    from recert.store.places import is_url

    where = log if is_url(log) else Path(log)
    lines = select(open_log(where, of), kind=Exchange.schema_name, model=model, since=against)
    sides = _sides(lines, since, without or ())
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


def _sides(
    lines: Iterable[AuditLine], since: str, without: Sequence[str]
) -> tuple[list[Exchange], list[Exchange]]:
    """The exchanges of before, and those of now."""
    from pydantic import ValidationError

    from recert.errors import InputError, RecordError
    from recert.records import Exchange

    sides: tuple[list[Exchange], list[Exchange]] = ([], [])
    for line in lines:
        if line.body.get("decision") == "opened" or line.body.get("client") in without:
            continue
        try:
            sides[line.at >= since].append(Exchange.model_validate(line.body))
        except ValidationError as exc:
            raise RecordError(
                "audit log has a line that is no exchange",
                facts={"line": line.seq, "because": exc.errors()[0]["msg"]},
            ) from exc
    if not all(sides):
        raise InputError(
            "there is nothing to compare",
            facts={"exchanges before": len(sides[0]), "since": len(sides[1])},
            hint="give a time at which the log has exchanges on both sides",
        )
    return sides


def _prompts(where: Any, exchanges: list[Exchange]) -> dict[str, str]:
    """The last user turn of every blocked request whose text was kept."""
    from recert.digest import sha256_bytes
    from recert.store.audit_texts import TextStore

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
