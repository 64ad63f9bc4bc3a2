"""`recert log`: a transparency log of certificates, status lists and whatever else was signed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import AsJson, Trust
from recert.cli.remembering import Memory

if TYPE_CHECKING:
    from recert.certification import TrustStore
    from recert.certification.log.checkpoints import LogCheckpoint

app = typer.Typer(no_args_is_help=True, help="Keep and check a transparency log of what was signed.")

Folder = Annotated[Path, typer.Argument(help="The log's folder.")]
Output = Annotated[Path | None, typer.Option(help="Where it is written; by default stdout.")]


@app.command()
def init(
    *,
    log: Folder,
    origin: Annotated[str, typer.Option(help="The log's name, such as `example.com/models`.")],
    key: Annotated[
        Path | None,
        typer.Option(help="Its private key: sign the empty log too, as `checkpoint --first` does."),
    ] = None,
) -> None:
    """
    Make an empty log.

    Exit 0: made, 1: its key has signed for a log of this name, 2: not.
    """
    from recert.certification import load_key
    from recert.cli.certifying.logged import sign_checkpoint
    from recert.store.transparency.folder import create_log

    signer = load_key(key) if key is not None else None
    create_log(log, origin)
    if signer is not None:
        sign_checkpoint(log, signer, first=True)
    typer.echo(log)


@app.command()
def append(
    *,
    log: Folder,
    files: Annotated[list[Path], typer.Argument(help="Certificates, status lists and the like.")],
) -> None:
    """
    Append signed files, each with the signatures that it has now. What is in the log already is not put in again.

    Exit 0: they are in it, 2: not all are.
    """
    from recert.cli.certifying.logged import append as append_to
    from recert.store.files.writing import read_bytes

    for file in files:
        typer.echo(append_to(log, read_bytes(file, "signed file"), file))


@app.command()
def checkpoint(
    *,
    log: Folder,
    key: Annotated[Path, typer.Option(help="Private key with the role `log`, whose name is the log's.")],
    first: Annotated[bool, typer.Option("--first", help="Begin to remember, of an empty log.")] = False,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Begin to remember it of a log with entries: its `checkpoint` is the newest that anybody has seen.",
        ),
    ] = False,
    output: Output = None,
) -> None:
    """
    Sign where the log stands, after reading all of it. Give the checkpoint to others: it is what they compare.

    Exit 0: signed, 1: refused, since it does not go on from what this key signed before, 2: no answer.
    """
    from recert.certification import load_key
    from recert.cli.certifying.logged import sign_checkpoint

    _write(sign_checkpoint(log, load_key(key), first=first, adopt=adopt).to_bytes(), output)


@app.command()
def prove(
    *,
    log: Folder,
    file: Annotated[Path | None, typer.Argument(help="The certificate or other file that is logged.")] = None,
    earlier: Annotated[
        list[str] | None,
        typer.Option("--from", help="An earlier checkpoint, or its number of entries. May be repeated."),
    ] = None,
    output: Output = None,
) -> None:
    """
    Write a proof that a file is in the log; without a file, that the newest checkpoint goes on from an earlier one.

    Exit 0: proven, 1: the log does not go on from that checkpoint, 2: no answer.
    """
    from recert.certification.log.checkpoints import LogCheckpoint
    from recert.certification.log.proving import prove_consistent, prove_logged
    from recert.errors import SettingsError
    from recert.store.files.writing import read_bytes

    given = earlier or []
    if file is None:
        if len(given) != 1 or given[0].isdecimal():
            raise SettingsError(
                "without a file, one earlier checkpoint is needed", hint="give --from CHECKPOINT"
            )
        old = LogCheckpoint.parse(read_bytes(Path(given[0]), "checkpoint"))
        _write(prove_consistent(log, old).to_json() + b"\n", output)
        return
    sizes = [
        int(one) if one.isdecimal() else LogCheckpoint.parse(read_bytes(Path(one), "checkpoint")).size
        for one in given
    ]
    proof = prove_logged(log, read_bytes(file, "signed file"), earlier=sizes)
    _write(proof.to_json() + b"\n", output)


@app.command()
def check(
    *,
    new: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of a log.")],
    trust: Trust,
    earlier: Annotated[
        Path | None, typer.Option("--from", help="An earlier checkpoint that it must go on from.")
    ] = None,
    proof: Annotated[Path | None, typer.Option(help="Proof of that, from `recert log prove --from`.")] = None,
    memory: Memory = "",
) -> None:
    """
    Say whether a checkpoint is signed, and goes on from an earlier one and from what was seen of the log before.

    Exit 0: it does, 1: it does not, or nothing shows it, 2: no answer.
    """
    from recert.certification import TrustStore
    from recert.certification.log.checking import read_consistency, require_consistent
    from recert.certification.log.memory import follow, remember
    from recert.certification.log.memory_file import memory_at
    from recert.records.record import now
    from recert.records.signed.transparency import VerifierMemory
    from recert.store.files.writing import read_bytes

    trusted, at = TrustStore.load(trust), now()
    newer = _read(new, trusted)
    shown = read_consistency(read_bytes(proof, "proof")) if proof else None
    if earlier is not None:
        require_consistent(_read(earlier, trusted), newer, shown)

    def step(seen: VerifierMemory) -> VerifierMemory:
        trees = follow(seen, newer, [shown.earlier] if shown else [])
        times = [*newer.witnessed(trusted, now=at).values()]
        return remember(seen, times=times, log=(newer.origin, trees))

    memory_at(memory).keep(step)
    witnesses = len(newer.witnessed(trusted, now=at))
    typer.echo(f"{newer.origin} {newer.size} entries, root {newer.root.hex()}, {witnesses} witnesses")


@app.command()
def included(
    *,
    file: Annotated[Path, typer.Argument(help="A certificate, status list or other signed file.")],
    proof: Annotated[Path, typer.Option(help="Its proof, from `recert log prove`.")],
    trust: Trust,
    witnesses: Annotated[int, typer.Option(help="Trusted witnesses that must have cosigned.", min=0)] = 0,
    memory: Memory = "",
) -> None:
    """
    Say whether a signed file of any kind is in a log. Of a certificate `recert verify --log-proof` says it too.

    Exit 0: it is, 1: that is not shown, 2: no answer.
    """
    from recert.certification import TrustStore
    from recert.certification.log.checking import require_included
    from recert.certification.log.memory_file import memory_at
    from recert.records.record import now
    from recert.store.files.writing import read_bytes

    trusted, envelope, shown = (
        TrustStore.load(trust),
        read_bytes(file, "signed file"),
        read_bytes(proof, "proof"),
    )
    memory_at(memory).keep(
        lambda seen: require_included(
            envelope, shown, trust=trusted, memory=seen, now=now(), witnesses=witnesses
        )
    )
    typer.echo(f"{file} is in the log")


@app.command()
def compare(
    *,
    first: Annotated[Path, typer.Argument(help="A checkpoint, as one person has it.")],
    second: Annotated[Path, typer.Argument(help="A checkpoint of the same log, as another has it.")],
    trust: Trust,
    log: Annotated[
        Path | None, typer.Option(help="The log's folder or a copy, to see whether both are of it.")
    ] = None,
    proof: Annotated[Path | None, typer.Option(help="Or a proof, from `recert log prove --from`.")] = None,
) -> None:
    """
    Say whether two checkpoints can be of one log. If not, the log showed two worlds: equivocation.

    Exit 0: they are, 1: they are not, 2: no answer: of different sizes, and neither log nor proof given.
    """
    from recert.certification import TrustStore
    from recert.certification.log.checking import read_consistency, require_consistent
    from recert.certification.log.proving import require_both_of
    from recert.errors import SettingsError
    from recert.store.files.writing import read_bytes

    trusted = TrustStore.load(trust)
    old, new = sorted((_read(first, trusted), _read(second, trusted)), key=lambda c: c.size)
    if old.origin == new.origin and old.size != new.size and log is None and proof is None:
        raise SettingsError(
            "checkpoints of different sizes say nothing of each other",
            facts={"entries": f"{old.size} and {new.size}"},
            hint="give --log, a copy of the log, or --proof from `recert log prove --from`",
        )
    shown = read_consistency(read_bytes(proof, "proof")) if proof else None
    if log is not None:
        require_both_of(log, old, new)
    else:
        require_consistent(old, new, shown)
    typer.echo(f"one log: {new.origin}, {old.size} and {new.size} entries")


@app.command()
def cosign(
    *,
    new: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of a log.")],
    key: Annotated[
        Path, typer.Option(help="Private key with the role `witness`; its name stands in the signature.")
    ],
    trust: Trust,
    memory: Annotated[
        Path, typer.Option(help="File of what this witness signed before; made where there is none.")
    ],
    proof: Annotated[
        Path | None, typer.Option(help="That it goes on from that, from `recert log prove --from`.")
    ] = None,
    output: Output = None,
) -> None:
    """
    Sign a checkpoint as a witness: once it is shown to go on from all that this witness signed before.

    Exit 0: signed, 1: refused, 2: no answer.
    """
    from recert.certification import TrustStore, load_key
    from recert.certification.log.checking import read_consistency
    from recert.certification.log.memory import follow, remember
    from recert.certification.log.memory_file import memory_at
    from recert.errors import VerificationError
    from recert.records.record import now
    from recert.records.signed.transparency import VerifierMemory
    from recert.store.files.writing import read_bytes

    signer, newer = load_key(key), _read(new, TrustStore.load(trust))
    shown = read_consistency(read_bytes(proof, "proof")) if proof else None
    cosigned = newer.cosigned(signer, now=now())

    def step(seen: VerifierMemory) -> VerifierMemory:
        newest = max((tree.size for tree in seen.logs.get(newer.origin, ())), default=0)
        if newer.size < newest:  # a witness signs the largest that it knows
            raise VerificationError(
                "log-rollback", "a larger checkpoint was signed before", facts={"entries": newest}
            )
        return remember(seen, log=(newer.origin, follow(seen, newer, [shown.earlier] if shown else [])))

    memory_at(str(memory)).keep(step)
    _write(cosigned.to_bytes(), output)


@app.command()
def key(
    *,
    given: Annotated[
        str,
        typer.Argument(
            metavar="KEY", help="A `.pub` file, or a key as other tools write it, `NAME+HASH+KEY`."
        ),
    ],
    witness: Annotated[bool, typer.Option("--witness", help="It is a witness's key, not a log's.")] = False,
    output: Output = None,
) -> None:
    """
    Write a key of a log or witness as other tools take it; or such a key of theirs as a `.pub` file for a trust store.

    Exit 0: written, 2: not.
    """
    from recert.certification import load_public_key
    from recert.certification.log.notes import read_verifier_key, verifier_key

    if Path(given).exists():
        public = load_public_key(Path(given))
        _write(verifier_key(public.name, public, witness=witness).encode() + b"\n", output)
    else:
        _write(read_verifier_key(given, "witness" if witness else "log").to_json(), output)


@app.command()
def verify(
    *,
    log: Folder,
    trust: Annotated[Path | None, typer.Option(help="Trusted keys; the log's must have signed it.")] = None,
) -> None:
    """
    Read a whole log, and say whether it is what was written and signed.

    Exit 0: it is, 1: it is not, 2: no answer.
    """
    from recert.certification import TrustStore
    from recert.certification.log.checkpoints import read_checkpoint
    from recert.certification.log.logged import require_goes_on
    from recert.errors import RecordError, VerificationError
    from recert.records.record import now
    from recert.store.transparency.folder import LogFolder, read_entry

    try:
        with LogFolder(log) as opened:
            signed = require_goes_on(opened)
            opened.require_as_hashed()
            for index, line in enumerate(opened.leaves()):
                read_entry(line, log, index)
            size, root = opened.size, opened.root().hex()
    except RecordError as exc:
        raise VerificationError("not-what-was-written", exc.message, facts=exc.facts, hint=exc.hint) from exc
    if trust is not None:
        newest = signed.to_bytes() if signed else b""
        signed = read_checkpoint(newest, trust=TrustStore.load(trust), now=now())
    typer.echo(f"{size} entries, root {root}, {signed.size if signed else 0} of them signed for")


@app.command()
def show(
    *,
    log: Folder,
    kind: Annotated[str, typer.Option(help="Only these, such as `certificate` or `status-list`.")] = "",
    serial: Annotated[str, typer.Option(help="Only those of this certificate.")] = "",
    last: Annotated[int, typer.Option(help="Only the last so many of them; 0 for all.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """
    Print entries, one a line.

    Exit 0: shown, 2: the log cannot be read.
    """
    from collections import deque

    from recert.store.transparency.folder import LogFolder, read_entry

    with LogFolder(log) as opened:
        every = ((i, line, read_entry(line, log, i)) for i, line in enumerate(opened.leaves()))
        chosen = ((i, line, e) for i, line, e in every if kind in ("", e.kind) and serial in ("", e.serial))
        for index, line, entry in deque(chosen, last) if last else chosen:
            if as_json:
                typer.echo(line.decode())
            else:
                about = entry.serial or (f"version {entry.version}" if entry.version else "-")
                typer.echo(
                    f"{index} {entry.logged_at:%Y-%m-%dT%H:%M:%SZ} {entry.kind} {about} sha256:{entry.sha256}"
                )


def _read(path: Path, trust: TrustStore) -> LogCheckpoint:
    from recert.certification.log.checkpoints import read_checkpoint
    from recert.errors import VerificationError
    from recert.records.record import now
    from recert.store.files.writing import read_bytes

    try:
        return read_checkpoint(read_bytes(path, "checkpoint"), trust=trust, now=now())
    except VerificationError as exc:
        raise VerificationError(
            exc.reason, exc.message, facts={"file": path, **exc.facts}, hint=exc.hint
        ) from exc


def _write(data: bytes, output: Path | None) -> None:
    from recert.store.files.writing import write_atomic

    if output is None:
        typer.echo(data.decode(), nl=False)
    else:
        write_atomic(output, data)
        typer.echo(output)
