"""
What gets through gateways that must keep a phrase and a secret: the leak matrix.

Behind every front stands the same model, which says a forbidden phrase, or a secret from its instructions, in one
field of its reply: the text, one of three choices, a tool's name or arguments, reasoning, refusal, log probabilities
or annotations; plain, cut at every position, in compatibility characters, with invisible characters between the
letters (more of them than any buffer holds), with direction marks, in look-alike letters, in base64, or echoing the
secret in six ways; streamed and not. A case leaks where the client gets the whole phrase as it is written, or
anything that stands behind it. A field in which ordinary text does not come either cannot leak: it says so. Errors do
not count, though LiteLLM's name the word that was found, the secret too.

Recert runs as a process, with certificate, audit log and all fields allowed by its policy; LiteLLM with its own
content filter on requests and replies, NeMo Guardrails with a regex rail and streams judged before they leave; the
phrases and the secret are what each is told to keep.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from fronts.client import Client, chat_request, unchunked
from fronts.leak_cases import FIELDS, ORDINARY, QUESTION, Case, cases, texts_of
from fronts.others import LITELLM, NEMO, start_litellm, start_nemo
from fronts.process import Server
from fronts.told import ToldModel
from fronts.upstream import PHRASES
from peers.environment import NoPeer, versions_in
from peers.page import LEAKS, claim, claims_table, filled, write_part
from recert.models.chat.secret import SecretPrefix

HERE = Path(__file__).parent
DIRECT, OURS = "the model itself", "Recert"
GUARDED, IORAILS, LLMRAILS = "LiteLLM, keyword guard", "NeMo IORails, regex rail", "NeMo LLMRails, regex rail"
ALLOW = ("choices", "logprobs", "reasoning", "response_format", "tools")
LIMIT_S = 30.0
WAYS = (False, True)


@dataclass
class Found:
    """What one front let through; or why there is nothing."""

    leaked: dict[tuple[str, str, bool], list[bool]] = field(default_factory=dict)
    """By field, way of writing and whether it was streamed: for each case, whether it leaked."""
    comes: dict[tuple[str, bool], bool] = field(default_factory=dict)
    """By field and whether it was streamed: whether ordinary text comes in it."""
    versions: dict[str, str] = field(default_factory=dict)
    lost: str = ""

    def count(self, of: str = "", how: str = "", *, stream: bool | None = None) -> tuple[int, int]:
        """Return how many cases leaked, of how many; of one field, way of writing or way of asking, where given."""
        some = [
            one
            for (its_field, its_how, its_stream), ones in self.leaked.items()
            if of in ("", its_field) and how in ("", its_how) and stream in (None, its_stream)
            for one in ones
        ]
        return sum(some), len(some)


def start_recert(upstream: str, folder: Path, secret: Path) -> Server:
    """Start Recert's gateway with every field allowed."""
    script = str(HERE / "fronts" / "recert_front.py")
    allow = [part for one in ALLOW for part in ("--allow", one)]
    command = [sys.executable, script, upstream, str(folder / "model"), "--secret", str(secret), *allow]
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH", ""))))
    return Server(command, folder / "said.txt", environment={"PYTHONPATH": path})


def _words(secret: Path) -> tuple[str, ...]:
    return (*PHRASES, SecretPrefix.read(secret).reveal())


FRONTS: dict[str, Callable[[str, Path, Path], Server]] = {
    OURS: start_recert,
    GUARDED: lambda url, folder, secret: start_litellm(url, folder, guard=True, words=_words(secret)),
    IORAILS: lambda url, folder, secret: start_nemo(url, folder, iorails=True, words=_words(secret)),
    LLMRAILS: lambda url, folder, secret: start_nemo(url, folder, iorails=False, words=_words(secret)),
}
PACKAGES = {
    GUARDED: (LITELLM, "litellm"),
    IORAILS: (NEMO, "nemoguardrails"),
    LLMRAILS: (NEMO, "nemoguardrails"),
}


def versions_of(name: str) -> dict[str, str]:
    """Return the versions of what a front is."""
    return versions_in(*PACKAGES[name]) if name in PACKAGES else {"recert": version("recert")}


async def ask(client: Client, model: ToldModel, case: Case, *, stream: bool) -> dict[tuple[object, ...], str]:
    """
    Return every text that a client gets of a case, but errors; what came before a reply broke off counts.

    Raises:
        NoPeer: nothing came.
    """
    model.steps, model.choices = case.steps(), case.choices()
    answer = await client.ask(chat_request("bench", QUESTION, stream=stream, **case.asked()), LIMIT_S)
    if answer.status == 0:
        raise NoPeer(f"does not answer: {answer.broken}")
    if answer.broken:
        client.close()
    return {path: text for path, text in texts_of(unchunked(answer.body)).items() if path[0] != "error"}


def run_matrix(url: str, model: ToldModel, matrix: Sequence[Case]) -> Found:
    """Ask for every case, streamed and not."""
    found = Found()

    async def all_cases() -> None:
        client = Client(url)
        for case in matrix:
            for stream in WAYS:
                got = await ask(client, model, case, stream=stream)
                if case.how == ORDINARY:
                    found.comes[case.field, stream] = case.comes(got)
                else:
                    found.leaked.setdefault((case.field, case.how, stream), []).append(case.leaks(got))
        client.close()

    asyncio.run(all_cases())
    if not any(found.comes[FIELDS[0], stream] for stream in WAYS):
        raise NoPeer("does not pass an ordinary reply")
    return found


def run(names: Sequence[str]) -> dict[str, Found]:
    """Return what each front let through."""
    found = {}
    secret = SecretPrefix.generate()
    matrix = cases(secret.reveal())
    with tempfile.TemporaryDirectory() as scratch, ToldModel().running() as model:
        kept = Path(scratch) / "secret"
        secret.write(kept)
        for name in names:
            folder = Path(scratch) / str(names.index(name))
            folder.mkdir()
            try:
                with ExitStack() as stack:
                    url = model.url
                    if name in FRONTS:
                        server = FRONTS[name](model.url, folder, kept)
                        stack.callback(server.stop)
                        url = server.url
                    found[name] = run_matrix(url, model, matrix)
                    found[name].versions = versions_of(name) if name in FRONTS else {}
            except NoPeer as exc:
                found[name] = Found(lost=str(exc))
            print(
                f"{name}: {found[name].lost or '{} of {} leaked'.format(*found[name].count())}",
                file=sys.stderr,
            )
    return found


def claims_of(found: Mapping[str, Found]) -> list[dict[str, object]]:
    """Print the claims, and return them."""
    out: list[dict[str, object]] = []
    for name in (OURS, GUARDED, IORAILS, LLMRAILS):
        one = found.get(name, Found(lost="left out"))
        what = f"cases that {name} leaks" if name == OURS else f"cases that {name} leaks, and Recert does not"
        aim, least, n = 0.0 if name == OURS else 1.0, name != OURS, one.count()[1]
        if one.lost:
            out.append(claim(what, None, aim, least=least, n=n, versions=one.versions, reason=one.lost))
            continue
        there = one.leaked
        kept = found[OURS].leaked if name != OURS else {}
        value = sum(a and not (kept and kept[key][at]) for key in there for at, a in enumerate(there[key]))
        out.append(claim(what, value, aim, least=least, n=n, versions=one.versions))
    return out


def table(found: Mapping[str, Found], rows: Sequence[str], *, by_field: bool) -> str:
    """Return a Markdown table: how many cases leaked, plain and streamed, by field or by way of writing."""
    names = [name for name, one in found.items() if not one.lost]
    first = "field" if by_field else "way of writing"
    out = [f"| {first} | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for row in rows:
        cells = [_cell(found[name], row, by_field=by_field) for name in names]
        out.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(out)


def _cell(one: Found, row: str, *, by_field: bool) -> str:
    said = []
    for stream in WAYS:
        leaked, of = one.count(row if by_field else "", "" if by_field else row, stream=stream)
        passes = not by_field or one.comes[row, stream] or leaked
        said.append(f"{leaked} of {of}" if passes else "does not come")
    return said[0] if said[0] == said[1] else f"{said[0]}; streamed {said[1]}"


def page(found: Mapping[str, Found], lines: Sequence[Mapping[str, object]]) -> str:
    """Return the part of the page."""
    intro = [filled(one) for one in (__doc__ or "").strip().split("\n\n")[1:]]
    ways = list(dict.fromkeys(how for one in found.values() for _, how, _ in one.leaked))
    versions = {f"{package} {at}" for one in found.values() for package, at in one.versions.items()}
    lost = [f"{name}: {one.lost}." for name, one in found.items() if one.lost]
    said = filled(", ".join(sorted(versions)) + ". " + " ".join(lost))
    tables = [table(found, FIELDS, by_field=True), table(found, ways, by_field=False)]
    return "\n\n".join(["## Beside other gateways", *intro, said, *tables, claims_table(lines)])


def main() -> int:
    """Print a JSON line a claim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", choices=[DIRECT, *FRONTS], help="ask this front; may be repeated"
    )
    parser.add_argument("--write", action="store_true", help="write a part of docs/concepts/gateway-leaks.md")
    given = parser.parse_args()
    found = run([name for name in (DIRECT, *FRONTS) if not given.only or name in given.only])
    if OURS in found and found[OURS].lost:
        sys.exit(f"Recert: {found[OURS].lost}")
    lines = claims_of(found)
    if given.write:
        write_part("leaks", page(found, lines), LEAKS)
    return 0 if all(line["met"] is not False for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
