"""
Recert's gateway under 1,000 streams at once, under faults of what stands behind it, and beside slow clients.

The gateway runs with all controls but a judge that is a model, as in the part above, before a mock model that sends a
token every 200 ms. Each client asks for one stream after the other and names a ticket; the reply begins and ends with
its number, so that a stream that lost, doubled or mixed up anything is seen. Memory is what /proc says once a second,
from when every client has had its first reply; its slope is a line through the means of ten parts of that time. At
the end the audit log is verified, and held against what clients got: every reply must have its line, with the digest
of the text that this client saw, and every line of a released reply a client.

Then, on a fresh gateway that gives a reply 8 s, the model is killed, hangs, lies about lengths, sends what is no
protocol, a line of 4 MB, or text without end, while 100 ordinary streams go on. Last, 500 clients each are slow over
headers, over bodies and over reading, for 40 s.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fronts.certified import MODEL
from fronts.client import Client, chat_request
from fronts.process import Machine, Server
from fronts.slow import KINDS, Slow, connect
from fronts.streams import Crowd, Kept, look_at, percentile, percentiles
from fronts.upstream import ENDLESS, FAULTS
from gateway import start_recert, versions_of
from peers.page import GATEWAY, claim, claims_table, filled, machine, write_part
from recert.store.audit.log import AuditLine, read_log

HERE = Path(__file__).parent
TOKENS, PACE_S = 100, 0.2
SHORT_TOKENS = 20
"""Of the replies beside faults and slow clients: 4 s."""
FAULT_LIMIT_S = 8
AT_ONCE, ENDLESS_AT_ONCE = 20, 3
BESIDE = 100
SLOW_EACH = 500
SLOW_S = 40.0
PARTS, STUDENT_T = 10, 2.306
"""Means that the slope goes through, and the 97.5 % point of Student's t for that many less two."""
AIM_MB_A_MINUTE, AIM_FIRST_MS = 1.0, 1000.0


def start_upstream(folder: Path, tokens: int) -> Server:
    """Start the mock model."""
    sizes = ("--tokens", str(TOKENS), "--paced-tokens", str(tokens), "--pace-ms", str(PACE_S * 1000))
    return Server([sys.executable, str(HERE / "fronts" / "upstream.py"), *sizes], folder / "upstream.txt")


@dataclass
class Memory:
    """What a server held, in MB, once a second."""

    server: Server
    kept: Kept
    at_s: list[float] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)
    under_way: list[int] = field(default_factory=list)

    async def watch(self, seconds: float) -> None:
        """Look once a second, so long."""
        started = time.monotonic()
        while (at := time.monotonic() - started) < seconds:
            self.at_s.append(at)
            self.mb.append(self.server.rss_mb())
            self.under_way.append(self.kept.under_way)
            await asyncio.sleep(1.0)

    def slope(self) -> tuple[float, float, float]:
        """Return by how many MB a minute it grows, and a 95 % interval."""
        size = max(1, len(self.at_s) // PARTS)
        cuts = [slice(at, at + size) for at in range(0, size * PARTS, size)]
        x = [statistics.fmean(self.at_s[cut]) / 60 for cut in cuts]
        y = [statistics.fmean(self.mb[cut]) for cut in cuts]
        line = statistics.linear_regression(x, y)
        off_line = sum((b - line.intercept - line.slope * a) ** 2 for a, b in zip(x, y, strict=True))
        spread = sum((a - statistics.fmean(x)) ** 2 for a in x)
        off = STUDENT_T * math.sqrt(off_line / (len(x) - 2) / spread)
        return line.slope, line.slope - off, line.slope + off


@dataclass
class Loaded:
    """What came of the streams."""

    kept: Kept
    memory: Memory
    idle_mb: float
    mismatched: list[str]
    lines: int
    others: float


async def load(server: Server, streams: int, seconds: float) -> tuple[Kept, Memory]:
    """Ask for streams, so many at once and so long, not counting the first reply of each client."""
    crowd = Crowd(server.url, MODEL, TOKENS, PACE_S)
    crowd.start(streams)
    await asyncio.sleep(2 * crowd.reply_s)
    memory = Memory(server, crowd.kept)
    await memory.watch(max(seconds - 2 * crowd.reply_s, PARTS * 2.0))
    return await crowd.stop(), memory


def run_load(streams: int, seconds: float) -> Loaded:
    """Return what came of so many streams at once."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        upstream = start_upstream(folder, TOKENS)
        stack.callback(upstream.stop)
        server = start_recert(upstream.url, folder)
        stack.callback(server.stop)
        watched, idle_mb = Machine([upstream, server]), server.rss_mb()
        kept, memory = asyncio.run(load(server, streams, seconds))
        others = watched.share_of_others()
        server.stop()
        lines = read_log(folder / "model" / "audit.jsonl")
        return Loaded(kept, memory, idle_mb, mismatches(kept, lines), len(lines), others)


def mismatches(kept: Kept, lines: Sequence[AuditLine]) -> list[str]:
    """Return what differs between the replies that clients got whole and the lines of the audit log."""
    opened = {line.body["request_id"] for line in lines if line.body.get("decision") == "opened"}
    ended = {line.body["request_id"]: line.body for line in lines if line.body.get("decision") != "opened"}
    out = []
    for request_id, digest in kept.replies.items():
        line = ended.get(request_id)
        if line is None or request_id not in opened:
            out.append(f"{request_id}: no line")
        elif line["decision"] != "released" or line["reply_sha256"] != digest:
            out.append(f"{request_id}: another reply by its line")
    released = {name for name, body in ended.items() if body["decision"] == "released"}
    unheard = len(released - kept.replies.keys()) - len(kept.lost) - len(kept.torn)
    return out + ["a line without a client"] * max(unheard, 0)


@dataclass
class Fault:
    """What clients got of a model that misbehaves in one way."""

    streamed: Counter[str] = field(default_factory=Counter)
    plain: Counter[str] = field(default_factory=Counter)
    looked_whole: int = 0
    longest_s: float = 0.0
    mb: float = 0.0

    @property
    def asked(self) -> int:
        """How many there were."""
        return self.streamed.total() + self.plain.total()


async def ask_faulty(url: str, text: str, found: Fault, *, stream: bool) -> None:
    """Ask for what the model will not do well, and note what came."""
    client = Client(url)
    answer = await client.ask(chat_request(MODEL, text, stream=stream), limit_s=4 * FAULT_LIMIT_S)
    client.close()
    seen = look_at(answer)
    found.looked_whole += (seen.done or bool(seen.finish_reason)) and answer.good and not seen.error
    found.longest_s = max(found.longest_s, answer.took_s)
    began = f"{answer.status}, text, then " if seen.text else f"{answer.status} " if answer.status else ""
    outcome = f"{began}`{seen.error}`" if seen.error else f"{began}{answer.broken or 'the whole'}"
    (found.streamed if stream else found.plain)[outcome] += 1


async def spoil(server: Server, at_once: int) -> tuple[dict[str, Fault], Kept]:
    """Ask for each fault, streamed and plain, while ordinary streams go on; return what both got."""
    crowd = Crowd(server.url, MODEL, SHORT_TOKENS, PACE_S)
    crowd.start(BESIDE)
    await asyncio.sleep(crowd.reply_s)
    found: dict[str, Fault] = {}
    for name in (*FAULTS, ENDLESS):
        fault = found[name] = Fault()
        times = min(at_once, ENDLESS_AT_ONCE) if name == ENDLESS else at_once
        wishes = [
            ask_faulty(server.url, f"What if the {name}?", fault, stream=stream)
            for stream in (True, False)
            for _ in range(times)
        ]
        await asyncio.gather(*wishes)
        fault.mb = server.rss_mb()
        print(f"{name}: {dict(fault.streamed)}, {dict(fault.plain)}", file=sys.stderr)
    return found, await crowd.stop()


async def slow_down(server: Server, each: int, seconds: float) -> tuple[dict[str, list[Slow]], Kept, float]:
    """Let slow clients hang on while ordinary streams go on; return both, and the most memory in MB."""
    crowd = Crowd(server.url, MODEL, SHORT_TOKENS, PACE_S)
    crowd.start(BESIDE)
    await asyncio.sleep(crowd.reply_s)
    slow: dict[str, list[Slow]] = {
        kind: [await connect(server.url, kind, MODEL) for _ in range(each)] for kind in KINDS
    }
    memory = Memory(server, crowd.kept)
    await memory.watch(seconds)
    for clients in slow.values():
        for client in clients:
            client.close()
    return slow, await crowd.stop(), max(memory.mb)


@dataclass
class Troubled:
    """What came of faults and slow clients."""

    faults: dict[str, Fault]
    beside_faults: Kept
    slow: dict[str, list[Slow]]
    beside_slow: Kept
    slow_mb: float
    unlogged: int
    """Exchanges whose model misbehaved, without a line that says so."""
    mismatched: list[str]


def run_trouble(at_once: int, slow_each: int, slow_s: float) -> Troubled:
    """Return what came of faults and slow clients, on one gateway."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        upstream = start_upstream(folder, SHORT_TOKENS)
        stack.callback(upstream.stop)
        server = start_recert(upstream.url, folder, "--upstream-timeout-s", str(FAULT_LIMIT_S))
        stack.callback(server.stop)
        faults, beside = asyncio.run(spoil(server, at_once))
        failed = sum(
            line.body["decision"] == "failed"
            for line in read_log(folder / "model" / "audit.jsonl")
            if line.kind == "exchange"
        )
        slow, beside_slow, slow_mb = asyncio.run(slow_down(server, slow_each, slow_s))
        server.stop()
        lines = read_log(folder / "model" / "audit.jsonl")
        both = Kept(beside.replies | beside_slow.replies, beside.lost + beside_slow.lost)
        unlogged = sum(fault.asked for fault in faults.values()) - failed
        return Troubled(faults, beside, slow, beside_slow, slow_mb, unlogged, mismatches(both, lines))


def load_claims(found: Loaded, streams: int, seconds: float) -> list[dict[str, Any]]:
    """Print the claims about load, and return them."""
    kept, memory = found.kept, found.memory
    replies = len(kept.replies) + len(kept.lost) + len(kept.torn)
    facts: dict[str, Any] = {
        "versions": versions_of("Recert"),
        "streams": streams,
        "seconds": seconds,
        "cpu_used_by_others": round(found.others, 3),
    }
    slope, low, high = memory.slope()
    name = "MB a minute by which memory grows, upper end of the interval"
    mb: dict[str, Any] = {"mb_idle": round(found.idle_mb, 1), "mb_most": round(max(memory.mb), 1)}
    first = percentile(kept.first_text_ms, 0.99)
    return [
        claim("streams under way, least of any second", min(memory.under_way), streams, least=True,
              n=len(memory.mb), **facts),
        claim("streams lost", len(kept.lost), 0, least=False, n=replies, **facts),
        claim("streams torn or mixed up", len(kept.torn), 0, least=False, n=replies, **facts),
        claim("replies and audit lines that do not match", len(found.mismatched), 0, least=False,
              n=found.lines, **facts),
        claim(name, high, AIM_MB_A_MINUTE, least=False, n=len(memory.mb), interval=(low, high),
              slope=round(slope, 3), **mb, **facts),
        claim("ms to the first text, 99th percentile", first, AIM_FIRST_MS, least=False,
              n=len(kept.first_text_ms), **facts),
    ]  # fmt: skip


def trouble_claims(found: Troubled) -> list[dict[str, Any]]:
    """Print the claims about faults and slow clients, and return them."""
    asked = sum(fault.asked for fault in found.faults.values())
    whole = sum(fault.looked_whole for fault in found.faults.values())
    versions = versions_of("Recert")
    out = [
        claim("replies that looked whole when the model failed", whole, 0, least=False, n=asked,
              versions=versions),
        claim("failed exchanges without their audit line", found.unlogged, 0, least=False, n=asked,
              versions=versions),
    ]  # fmt: skip
    for beside, kept in (("faults", found.beside_faults), ("slow clients", found.beside_slow)):
        name = f"ordinary streams lost or torn beside {beside}"
        lost = len(kept.lost) + len(kept.torn)
        out.append(claim(name, lost, 0, least=False, n=lost + len(kept.replies), versions=versions))
    still = sum(client.cut_after_s is None for clients in found.slow.values() for client in clients)
    n = sum(map(len, found.slow.values()))
    out.append(
        claim(f"slow clients still there after {SLOW_S:.0f} s", still, 0, least=False, n=n, versions=versions)
    )
    name = "replies and audit lines that do not match, beside faults and slow clients"
    out.append(claim(name, len(found.mismatched), 0, least=False, n=len(found.beside_faults.replies)
                     + len(found.beside_slow.replies), versions=versions))  # fmt: skip
    return out


def load_table(found: Loaded, streams: int) -> str:
    """Return what came of the load as a Markdown table."""
    kept, memory = found.kept, found.memory
    slope, low, high = memory.slope()
    rows = {
        "streams at once": f"{streams}",
        "whole replies": f"{len(kept.replies)}",
        "first text, ms, median / 95 % / 99 % / most": percentiles(kept.first_text_ms),
        "end of the reply, ms later than the model's pace, likewise": percentiles(kept.late_ms),
        "MB before / at most": f"{found.idle_mb:.0f} / {max(memory.mb):.0f}",
        "MB more a minute (95 % interval)": f"{slope:+.2f} ({low:+.2f} to {high:+.2f})",
        "audit lines": f"{found.lines}",
    }
    return "\n".join(
        ["| under load | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    )


def fault_table(found: Troubled) -> str:
    """Return what clients got of each fault, and how long slow clients stayed, as Markdown tables."""

    def said(outcomes: Mapping[str, int]) -> str:
        return "; ".join(f"{n} x {outcome}" for outcome, n in sorted(outcomes.items()))

    out = [
        "| what the model does | streams get | plain requests get | s at most | MB |",
        "|---|---|---|---|---|",
    ]
    out += [
        f"| {name} | {said(one.streamed)} | {said(one.plain)} | {one.longest_s:.1f} | {one.mb:.0f} |"
        for name, one in found.faults.items()
    ]
    out += ["", "| slow over | clients | cut after, s | still there |", "|---|---|---|---|"]
    for kind, clients in found.slow.items():
        cut = [client.cut_after_s for client in clients if client.cut_after_s is not None]
        between = f"{min(cut):.0f} to {max(cut):.0f}" if cut else "-"
        out.append(f"| {kind} | {len(clients)} | {between} | {len(clients) - len(cut)} |")
    out += ["", "| ordinary streams | whole | first text, ms, median / 95 % / 99 % / most |", "|---|---|---|"]
    for beside, kept in (("beside faults", found.beside_faults), ("beside slow clients", found.beside_slow)):
        out.append(f"| {beside} | {len(kept.replies)} | {percentiles(kept.first_text_ms)} |")
    return "\n".join([*out, "", f"Most memory beside slow clients: {found.slow_mb:.0f} MB."])


def main() -> int:
    """Print a JSON line a claim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=1000, help="at once")
    parser.add_argument("--seconds", type=float, default=300.0, help="of load")
    parser.add_argument(
        "--faulty", type=int, default=AT_ONCE, help="requests of each fault, streamed and plain"
    )
    parser.add_argument("--slow", type=int, default=SLOW_EACH, help="slow clients of each kind")
    parser.add_argument("--slow-seconds", type=float, default=SLOW_S, help="that they are given")
    parser.add_argument("--write", action="store_true", help="write a part of docs/concepts/gateway-cost.md")
    given = parser.parse_args()
    loaded = run_load(given.streams, given.seconds)
    lines = load_claims(loaded, given.streams, given.seconds)
    print(load_table(loaded, given.streams), *loaded.kept.lost[:3], *loaded.kept.torn[:3],
          *loaded.mismatched[:3], sep="\n", file=sys.stderr)  # fmt: skip
    troubled = run_trouble(given.faulty, given.slow, given.slow_seconds)
    lines += trouble_claims(troubled)
    print(fault_table(troubled), *troubled.beside_faults.lost[:3], *troubled.beside_slow.lost[:3],
          sep="\n", file=sys.stderr)  # fmt: skip
    if given.write:
        intro = "\n\n".join(filled(one) for one in (__doc__ or "").strip().split("\n\n")[1:])
        state = f"{machine()}; other processes used {loaded.others:.0%} of the machine."
        body = ["## Under load, faults and slow clients", intro, filled(state)]
        body += [load_table(loaded, given.streams), fault_table(troubled), claims_table(lines)]
        write_part("gateway_load", "\n\n".join(body), GATEWAY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
