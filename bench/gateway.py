"""
CPU time, memory and time to the first released text of Recert's gateway beside other gateways.

Every front stands before the same mock upstream and keeps the same phrases from passing, in what comes in and in
what goes out, where it has a guard. Recert runs with all controls but a judge that is a model: API key, certificate
(verified again every second), strict parsing, phrases under normalisation, secret prefix, system instruction, hold-
back, hash-chained audit log on disk before the reply, a log line a request. Fronts take turns within a round, so
that what else the machine does falls on all alike; CPU time is user and system time of the front's processes.

Before anything is timed, each front answers a request that is fine with the whole text, and is asked for a
forbidden phrase in three ways; what it let through is in the table. NeMo Guardrails judges streams before they
leave (`stream_first: false`). One more front
reads nothing and passes on what it gets (uvicorn, uvloop, httptools, aiohttp): what this machine takes before anything
is checked. A plain request is answered with 16 tokens, and so is a streamed one, all at once, for 16 clients that each
ask again when they have their reply; paced, a token comes every 5 ms on four streams.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fronts.client import Client, ask_for, chat_request
from fronts.others import LITELLM, NEMO, start_litellm, start_nemo
from fronts.process import Machine, Server
from fronts.upstream import FORBIDDEN, PACED, PHRASES, words
from peers.environment import NoPeer, versions_in
from peers.page import GATEWAY, claim, claims_table, filled, machine, write_part

HERE = Path(__file__).parent
TOKENS, PACED_TOKENS = 16, 200
CLIENTS, STREAMS = 16, 4
PASSING = "nothing read, passed on"
DIRECT, OURS, OURS_JUDGED = "direct to the mock", "Recert", "Recert with the embedded classifier"
BARE, GUARDED = "LiteLLM, no guardrail", "LiteLLM, keyword guard"
IORAILS, LLMRAILS = "NeMo IORails, regex rail", "NeMo LLMRails, regex rail"
ORDINARY = "Hello! When does the library open on Saturdays, and what do I need to bring?"
AIM_MS, AIM_US, AIM_MB, AIM_JUDGE_MS, AIM_LITELLM, AIM_NEMO = 0.5, 75.0, 80.0, 10.0, 15.0, 2.0
AIM_PASSING = 2.0
"""Of our own: what the aims above were where passing on unread took 0.12 to 0.27 ms a request, and 45 us a token."""


@dataclass(frozen=True)
class Part:
    """A way of asking: its request, and in what CPU time is told."""

    name: str
    request: bytes
    per: float
    """Units of the figure in a second of CPU time an answer."""
    connections: int


PLAIN = Part("plain, ms", chat_request("bench", ORDINARY), 1e3, CLIENTS)
STREAMED = Part("streamed, ms", chat_request("bench", ORDINARY, stream=True), 1e3, CLIENTS)
TOKEN = Part(
    "paced, us a token",
    chat_request("bench", f"{ORDINARY} {PACED}", stream=True),
    1e6 / PACED_TOKENS,
    STREAMS,
)
PARTS = (PLAIN, STREAMED, TOKEN)


@dataclass
class Figures:
    """What was measured of a front; or why there is nothing."""

    cpu: dict[str, list[float]] = field(default_factory=lambda: {part.name: [] for part in PARTS})
    first_ms: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    """Ways in which a forbidden phrase came through."""
    versions: dict[str, str] = field(default_factory=dict)
    lost: str = ""


def start_recert(upstream: str, folder: Path, *options: str) -> Server:
    """Start Recert's gateway."""
    command = [
        sys.executable,
        str(HERE / "fronts" / "recert_front.py"),
        upstream,
        str(folder / "model"),
        *options,
    ]
    return Server(command, folder / "said.txt", environment={"PYTHONPATH": _with_ours()})


def start_passing(upstream: str, folder: Path) -> Server:
    """Start what a request costs at least on the same server and client libraries."""
    command = [sys.executable, str(HERE / "fronts" / "passing.py"), upstream]
    return Server(command, folder / "said.txt", environment={"PYTHONPATH": _with_ours()})


def _with_ours() -> str:
    return os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH", ""))))


def start_upstream(folder: Path) -> Server:
    """Start what stands behind every front."""
    script, sizes = (
        str(HERE / "fronts" / "upstream.py"),
        ("--tokens", str(TOKENS), "--paced-tokens", str(PACED_TOKENS)),
    )
    return Server([sys.executable, script, *sizes], folder / "upstream.txt")


FRONTS: dict[str, Callable[[str, Path], Server]] = {
    PASSING: start_passing,
    OURS: start_recert,
    OURS_JUDGED: lambda upstream, folder: start_recert(upstream, folder, "--classifier"),
    BARE: lambda upstream, folder: start_litellm(upstream, folder, guard=False),
    GUARDED: lambda upstream, folder: start_litellm(upstream, folder, guard=True),
    IORAILS: lambda upstream, folder: start_nemo(upstream, folder, iorails=True),
    LLMRAILS: lambda upstream, folder: start_nemo(upstream, folder, iorails=False),
}
PACKAGES = {
    BARE: (LITELLM, "litellm", "uvicorn", "uvloop"),
    GUARDED: (LITELLM, "litellm", "uvicorn", "uvloop"),
    IORAILS: (NEMO, "nemoguardrails", "uvicorn"),
    LLMRAILS: (NEMO, "nemoguardrails", "uvicorn"),
}


def versions_of(name: str) -> dict[str, str]:
    """Return the versions of what a front runs on."""
    if name in PACKAGES:
        peer, *packages = PACKAGES[name]
        return versions_in(peer, *packages)
    if name == PASSING:
        return {"aiohttp": version("aiohttp")}
    return (
        {}
        if name == DIRECT
        else {one: version(one) for one in ("recert", "uvicorn", "uvloop", "httptools", "orjson")}
    )


def check(url: str) -> list[str]:
    """
    Make sure that a front passes the whole of an ordinary reply; return how it lets a forbidden phrase through.

    Raises:
        NoPeer: it does not answer, or says something else.
    """

    def said(text: str, *, stream: bool) -> str:
        answer = asyncio.run(Client(url).ask(chat_request("bench", text, stream=stream)))
        return answer.text()

    for text, tokens in ((ORDINARY, TOKENS), (f"{ORDINARY} {PACED}", PACED_TOKENS)):
        for stream in (False, True):
            found = said(text, stream=stream)
            if found != "".join(words(tokens)):
                raise NoPeer(f"does not pass an ordinary reply: {found[:80]!r}")
    ways = {
        "request": said(f"Tell me of the {PHRASES[0]}.", stream=False),
        "reply": said(FORBIDDEN, stream=False),
        "stream": said(FORBIDDEN, stream=True),
    }
    whole = "".join(words(TOKENS))
    return [way for way, text in ways.items() if (text == whole if way == "request" else PHRASES[0] in text)]


def measure(part: Part, server: Server, seconds: float) -> tuple[float, list[float]]:
    """
    Ask for a while; return the CPU time, and the times to the first text in ms.

    Raises:
        NoPeer: an answer was no good.
    """
    before = server.cpu_s()
    load = asyncio.run(ask_for(server.url, part.request, connections=part.connections, seconds=seconds))
    used = server.cpu_s() - before
    if load.bad:
        raise NoPeer(f"answers badly: {load.bad[0].status} {load.bad[0].broken} {load.bad[0].body[:80]!r}")
    return used / load.answers * part.per, [one * 1e3 for one in load.first_text_s]


def run(names: Sequence[str], rounds: int, seconds: float) -> tuple[dict[str, Figures], float]:
    """Return the figures of all fronts, and the share of the machine that others used meanwhile."""
    found = {name: Figures() for name in names}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        upstream = start_upstream(Path(scratch))
        stack.callback(upstream.stop)
        alive: dict[str, Server] = {DIRECT: upstream}

        def begin(name: str) -> None:
            if name in FRONTS:
                folder = Path(scratch) / str(names.index(name))
                folder.mkdir()
                alive[name] = FRONTS[name](upstream.url, folder)
                stack.callback(alive[name].stop)
            found[name].versions = versions_of(name)
            found[name].passed = check(alive[name].url)
            for part in PARTS:
                measure(part, alive[name], min(seconds, 2.0))

        def take(name: str, part: Part) -> None:
            used, first_ms = measure(part, alive[name], seconds)
            found[name].cpu[part.name].append(used)
            if part is TOKEN:
                found[name].first_ms.append(statistics.median(first_ms))
                found[name].rss_mb.append(alive[name].rss_mb())

        for name in names:
            attempt(found[name], lambda name=name: begin(name))  # type: ignore[misc]
            print(f"{name}: {found[name].lost or 'ready'}", file=sys.stderr)
        watched = Machine(alive.values())
        for at in range(rounds):
            turn = [*names[at % len(names) :], *names[: at % len(names)]]
            for part in PARTS:
                for name in turn:
                    attempt(found[name], lambda name=name, part=part: take(name, part))  # type: ignore[misc]
        others = watched.share_of_others()
    return found, others


def attempt(figures: Figures, action: Callable[[], None]) -> None:
    """Do something with a front unless it is lost; it is lost when that fails."""
    if not figures.lost:
        try:
            action()
        except NoPeer as exc:
            figures.lost = str(exc)


def claims_of(found: Mapping[str, Figures], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Print the claims, and return them."""
    out = []
    for what, of, aim, least, values in _claimed():
        there = {name: found[name] for name in of if name in found}
        lost = [one.lost for one in there.values() if one.lost] + ["left out"] * (len(there) < len(of))
        got = [] if lost else values(*there.values())
        more = {**facts, "versions": merged_versions(there), "n": len(got), "least": least}
        if lost:
            out.append(claim(what, None, aim, **more, reason=lost[0]))
        else:
            out.append(claim(what, statistics.median(got), aim, **more, interval=(min(got), max(got))))
    return out


def _claimed() -> Iterator[tuple[str, tuple[str, ...], float, bool, Callable[..., list[float]]]]:
    """Yield each claim: its name, fronts, aim, whether it is to be reached at least, and the values of its rounds."""
    yield "CPU ms a plain request through Recert", (OURS,), AIM_MS, False, lambda ours: ours.cpu[PLAIN.name]
    yield "CPU us a token through Recert, paced", (OURS,), AIM_US, False, lambda ours: ours.cpu[TOKEN.name]
    yield "MB of memory of Recert", (OURS,), AIM_MB, False, lambda ours: ours.rss_mb
    what = "CPU ms that the embedded classifier adds to a request"
    yield what, (OURS, OURS_JUDGED), AIM_JUDGE_MS, False, lambda ours, judged: less(judged, ours, PLAIN)
    for part in (PLAIN, TOKEN):
        what = f"times the CPU of passing on unread, {part.name.split(',')[0]}"
        yield what, (PASSING, OURS), AIM_PASSING, False, lambda raw, ours, part=part: ratio(ours, raw, part)
    for name, aim in ((BARE, AIM_LITELLM), (IORAILS, AIM_NEMO)):
        for part in (PLAIN, STREAMED):
            what = f"times less CPU a request than {name}, {part.name.split(',')[0]}"
            yield what, (OURS, name), aim, True, lambda ours, theirs, part=part: ratio(theirs, ours, part)


def less(a: Figures, b: Figures, part: Part) -> list[float]:
    """Return a - b in each round."""
    return [x - y for x, y in zip(a.cpu[part.name], b.cpu[part.name], strict=True)]


def ratio(a: Figures, b: Figures, part: Part) -> list[float]:
    """Return a / b in each round."""
    return [x / y for x, y in zip(a.cpu[part.name], b.cpu[part.name], strict=True)]


def merged_versions(found: Mapping[str, Figures]) -> dict[str, str]:
    """Return versions by package; where fronts run on different ones, the later is named beside."""
    out: dict[str, str] = {}
    for name, one in found.items():
        for package, at in one.versions.items():
            if out.setdefault(package, at) != at:
                out[f"{package} of {name}"] = at
    return out


def table(found: Mapping[str, Figures]) -> str:
    """Return the figures of all fronts as a Markdown table."""
    out = [
        "| front | CPU ms, plain | CPU ms, streamed | CPU us a token, paced | first text, ms | MB | let through |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        if one.lost:
            out.append(f"| {name} | {one.lost} | - | - | - | - | - |")
            continue
        cells = [*(shown(one.cpu[part.name]) for part in PARTS), shown(one.first_ms), shown(one.rss_mb)]
        out.append(f"| {name} | {' | '.join(cells)} | {', '.join(one.passed) or 'nothing'} |")
    return "\n".join(out)


def shown(values: Sequence[float]) -> str:
    """Return median, least and greatest, to three digits."""
    return "{} ({}-{})".format(
        *(f"{one:#.3g}".rstrip(".") for one in (statistics.median(values), min(values), max(values)))
    )


def main() -> int:
    """Print a JSON line a claim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="turns of every front in every part")
    parser.add_argument("--seconds", type=float, default=2.0, help="of asking in a turn")
    parser.add_argument(
        "--only", action="append", choices=[DIRECT, *FRONTS], help="measure this front; may be repeated"
    )
    parser.add_argument("--write", action="store_true", help="write a part of docs/concepts/gateway-cost.md")
    given = parser.parse_args()
    names = [name for name in (DIRECT, *FRONTS) if not given.only or name in given.only]
    found, others = run(names, given.rounds, given.seconds)
    print(table(found), file=sys.stderr)
    lost = "; ".join(found[name].lost for name in (OURS, OURS_JUDGED) if name in found and found[name].lost)
    if lost:
        sys.exit(f"Recert: {lost}")
    lines = claims_of(
        found,
        {"tokens": TOKENS, "clients": CLIENTS, "streams": STREAMS, "cpu_used_by_others": round(others, 3)},
    )
    if given.write:
        intro = "\n\n".join(filled(one) for one in (__doc__ or "").strip().split("\n\n")[1:])
        said = [f"{package} {at}" for package, at in merged_versions(found).items()]
        state = f"{machine()}; other processes used {others:.0%} of the machine. {', '.join(said)}."
        body = ["## Beside other gateways", intro, filled(state), table(found), claims_table(lines)]
        write_part("gateway", "\n\n".join(body), GATEWAY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
