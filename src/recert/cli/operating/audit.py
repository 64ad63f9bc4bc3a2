"""
`recert audit`: check and read what the gateway wrote.

Here too: `recert audit drift`: are live exchanges as they were?
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recert.cli.certifying.audit_certificate import audit_certificate
from recert.cli.options import AsJson, PolicyName

if TYPE_CHECKING:
    from recert.certification import PublicKey
    from recert.store.audit.chain import AuditLine
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


app = typer.Typer(
    no_args_is_help=True, help="Check and read the gateway's audit log, and derive a certificate again."
)

Log = Annotated[str, typer.Argument(help="The audit log: its file, or the URL of the database.")]
Of = Annotated[
    str, typer.Option(metavar="NODE[/LOG]", help="Which gateway's, where several keep theirs in one place.")
]


@app.command()
def verify(
    *,
    log: Log,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(help="Signed checkpoints kept elsewhere: a file, or a folder of them. May be repeated."),
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(help="Public key (`.pub`) that signs checkpoints; earlier keys too. May be repeated."),
    ] = None,
    of: Of = "",
    max_unsigned: Annotated[
        int | None, typer.Option(help="Most lines that may come after the newest signed checkpoint.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    Say whether an audit log is what was written, from its first line to its last.

    Without a key only the chain and the unsigned checkpoint beside the log are looked at: whoever can write both
    can change both.

    Exit 0: it is, 1: it is not, 2: no answer.
    """
    from dataclasses import asdict

    from recert.errors import RecordError, SettingsError, VerificationError
    from recert.store.audit.reading import check_log
    from recert.store.places import is_url

    keys = _keys(key or [])
    if (checkpoints or max_unsigned is not None) and not keys:
        raise SettingsError("checkpoints say nothing without a key", hint="give --key audit.pub")
    try:
        found = check_log(log if is_url(log) else Path(log), keys=keys, copies=checkpoints or [], source=of)
    except RecordError as exc:
        raise VerificationError("not-what-was-written", exc.message, facts=exc.facts, hint=exc.hint) from exc
    if max_unsigned is not None and found.unsigned > max_unsigned:
        raise VerificationError(
            "end-not-signed",
            "too many lines come after the newest signed checkpoint",
            facts={"lines": found.unsigned, "at most": max_unsigned},
        )
    if as_json:
        _print({**asdict(found), "lines": found.lines, "unsigned": found.unsigned, "keys": len(keys)})
        return
    signed = f", {found.unsigned} after the newest of {found.checkpoints} signed checkpoints" if keys else ""
    typer.echo(f"{found.lines} lines hold{signed}{', stopped on purpose there' if found.ended else ''}")


@app.command()
def show(
    *,
    log: Log,
    decision: Annotated[str, typer.Option(help="`released`, `blocked-input`, `refused`, and so on.")] = "",
    client: Annotated[str, typer.Option(help="Name of the client's key.")] = "",
    model: Annotated[str, typer.Option(help="Name of the model.")] = "",
    request_id: Annotated[str, typer.Option("--request", help="Id of a request, as replies carry it.")] = "",
    reason: Annotated[str, typer.Option(help="Why, such as `expired` or `input-judge`.")] = "",
    kind: Annotated[str, typer.Option(help="Kind of line, such as `exchange`.")] = "",
    since: Annotated[str, typer.Option(help="From this time, UTC, as `2026-11-24T10:00`.")] = "",
    until: Annotated[str, typer.Option(help="Up to this time; a day alone is the whole day.")] = "",
    last: Annotated[int, typer.Option(help="Only the last so many of them; 0 for all.", min=0)] = 0,
    texts: Annotated[
        bool, typer.Option("--texts", help="With requests and replies, where they were kept.")
    ] = False,
    of: Of = "",
    as_json: AsJson = False,
) -> None:
    """
    Print lines of an audit log, one a line, after checking the chain.

    Exit 0: shown, 2: the log cannot be read, or is not what was written.
    """
    from collections import deque

    from recert.store.audit.reading import open_log, select
    from recert.store.audit.texts import TextStore
    from recert.store.places import is_url

    where = log if is_url(log) else Path(log)
    chosen = select(
        open_log(where, of),
        decision=decision,
        client=client,
        model=model,
        request_id=request_id,
        reason=reason,
        kind=kind,
        since=since,
        until=until,
    )
    kept = TextStore(where, existing=True) if texts else None
    for line in deque(chosen, last) if last else chosen:
        found = _texts(kept, line) if kept else {}
        if as_json:
            _print(_value(line) | found)
        else:
            typer.echo(_words(line))
            for name, text in found.items():
                typer.echo(f"    {name}: {json.dumps(text, ensure_ascii=False)}")


@app.command()
def forget(
    *,
    log: Log,
    digests: Annotated[
        list[str] | None, typer.Option("--sha256", help="Digest of a request or reply. May be repeated.")
    ] = None,
    before: Annotated[str, typer.Option(help="All that was kept before this time, UTC.")] = "",
    policy: Annotated[
        str,
        typer.Option(help="All that is older than the policy's `retention.texts_days`: a profile or a file."),
    ] = "",
) -> None:
    """
    Delete kept requests and replies. The log stays as it is, and holds: it names them by digest only.

    Exit 0: deleted, 2: not.
    """
    from recert.errors import SettingsError
    from recert.store.audit.texts import TextStore
    from recert.store.places import is_url

    if policy and before:
        raise SettingsError("two times are given", hint="give --before or --policy")
    before = _kept_since(policy) if policy else before
    if not digests and not before:
        raise SettingsError("nothing is named to be deleted", hint="give --sha256, --before or --policy")
    kept = TextStore(log if is_url(log) else Path(log), existing=True)
    typer.echo(kept.forget(digests=digests or [], before=before))


app.command()(drift)
app.command("certificate")(audit_certificate)


def _kept_since(policy: str) -> str:
    """The time before which nothing may be kept by a policy."""
    from datetime import timedelta

    from recert.errors import PolicyError
    from recert.policy import load_policy
    from recert.records.record import now

    kept = load_policy(policy).retention
    if kept is None or kept.texts_days is None:
        raise PolicyError(
            "the policy does not say how long texts are kept",
            facts={"policy": policy},
            hint="give it [retention] texts_days",
        )
    return f"{now() - timedelta(days=kept.texts_days):%Y-%m-%dT%H:%M:%SZ}"


def _keys(paths: list[Path]) -> list[PublicKey]:
    from recert.certification import load_public_key

    return [load_public_key(path) for path in paths]


def _value(line: AuditLine) -> dict[str, Any]:
    return {"seq": line.seq, "at": line.at, "kind": line.kind, "sha256": line.sha256, "body": line.body}


def _words(line: AuditLine) -> str:
    body = line.body
    said = " ".join(str(body.get(name) or "-") for name in ("decision", "reason", "client", "model_name"))
    return f"{line.seq} {line.at} {line.kind} {said} {body.get('request_id', '-')}"


def _texts(kept: Any, line: AuditLine) -> dict[str, str | None]:
    named = {"request": line.body.get("request_sha256"), "reply": line.body.get("reply_sha256")}
    found = kept.read([digest for digest in named.values() if isinstance(digest, str)])
    return {
        name: found[digest].decode("utf-8", "replace") if digest in found else None
        for name, digest in named.items()
    }


def _print(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n")
