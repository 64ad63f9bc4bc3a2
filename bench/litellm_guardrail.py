"""
What gets through LiteLLM's proxy when Recert is its guardrail, and what asking Recert costs.

A forbidden phrase is put into every place of requests and replies that LiteLLM's chat completions have, written in
several ways, plain and streamed in small pieces, with the configuration of `examples/litellm/config.yaml` and with
others that a user might choose. A request leaks when the phrase reaches the model, a reply when it reaches the client.
Then Recert is killed, and ordinary requests are sent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from fronts.guarded import BUFFERED, CLOSED, CONFIG, LITELLM, Case, ask, cases, start_litellm, start_recert
from fronts.process import Server
from fronts.scripted import Scripted
from peers.environment import NoPeer, versions_in
from peers.page import claim, machine

AIM_SHARE = 0.5
FINE = Case("the reply's text", "all is well", stream=False)
SHIPPED = "as shipped"
CONFIGS = {
    SHIPPED: lambda config: config,
    "LiteLLM's default for streams": lambda config: config.replace(BUFFERED, ""),
    "`incremental_diff`": lambda config: config.replace(
        BUFFERED, "      streaming_transform_mode: incremental_diff\n"
    ),
}


def leaks(proxy: Server, model: Scripted) -> tuple[list[Case], int]:
    """Return what got through, and how much was tried."""
    assert ask(proxy.url, model, FINE).leaked, "an ordinary reply does not get through"
    tried = cases()
    return [case for case in tried if ask(proxy.url, model, case).leaked], len(tried)


def cost_ms(servers: Sequence[Server], proxy: Server, model: Scripted, requests: int) -> list[float]:
    """Return the CPU time of each server for a request of LiteLLM, which asks Recert twice."""
    before = [server.cpu_s() for server in servers]
    for _ in range(requests):
        ask(proxy.url, model, FINE)
    return [(server.cpu_s() - at) / requests * 1e3 for server, at in zip(servers, before, strict=True)]


def passed_after_kill(folder: Path, model: Scripted, config: str) -> int:
    """Return how many of two ordinary requests are answered by the model once Recert was killed."""
    recert = start_recert(folder, model.url)
    proxy = start_litellm(folder / "litellm", model.url, recert.url, config)
    try:
        assert ask(proxy.url, model, FINE).leaked
        recert.kill()
        streamed = Case(FINE.place, FINE.text, stream=True)
        return sum(ask(proxy.url, model, case).leaked for case in (FINE, streamed))
    finally:
        proxy.stop()
        recert.stop()


def said(found: Mapping[str, list[Case]]) -> str:
    """Return what got through in each configuration, as a Markdown table."""
    out = ["| configuration | what got through |", "|---|---|"]
    for name, some in found.items():
        places = dict.fromkeys(f"{case.place}{', streamed' if case.stream else ''}" for case in some)
        out.append(f"| {name} | {'; '.join(places) or 'nothing'} |")
    return "\n".join(out)


def main() -> int:
    """Print a JSON line a claim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=300, help="ordinary ones, to tell the cost")
    given = parser.parse_args()
    config, found = CONFIG.read_text(encoding="utf-8"), {}
    with tempfile.TemporaryDirectory() as made, Scripted().running() as model:
        folder = Path(made)
        recert = start_recert(folder, model.url)
        try:
            for number, (name, changed) in enumerate(CONFIGS.items()):
                proxy = start_litellm(folder / str(number), model.url, recert.url, changed(config))
                try:
                    found[name], tried = leaks(proxy, model)
                    if name == SHIPPED:
                        ours_ms, theirs_ms = cost_ms([recert, proxy], proxy, model, given.requests)
                finally:
                    proxy.stop()
        finally:
            recert.stop()
        closed = passed_after_kill(folder / "closed", model, config)
        opened = passed_after_kill(folder / "open", model, config.replace(CLOSED, "fail_open"))
    print(f"{machine()}\n\n{said(found)}", file=sys.stderr)
    versions = versions_in(LITELLM, "litellm")
    shown = [case for case in found[SHIPPED] if not case.hidden]
    hidden = sum(case.hidden for case in cases())
    claim(
        "forbidden phrases that get through LiteLLM, in what it shows to guardrails", len(shown), 0,
        least=False, n=tried - hidden, versions=versions,
    )  # fmt: skip
    claim(
        "requests answered through LiteLLM while Recert is killed", closed, 0,
        least=False, n=2, versions=versions, with_fail_open=opened,
    )  # fmt: skip
    claim(
        "CPU time of Recert a request, as a share of LiteLLM's own", ours_ms / theirs_ms, AIM_SHARE,
        least=False, n=given.requests, versions=versions, recert_ms=round(ours_ms, 2), litellm_ms=round(theirs_ms, 2),
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoPeer as why:
        sys.exit(f"LiteLLM: {why}")
