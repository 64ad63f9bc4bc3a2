"""
The real LiteLLM proxy with the configuration that users copy, Recert as its guardrail, each a process of its own.

Skipped where LiteLLM is not there: `python bench/litellm_guardrail.py` installs it into `build/peers/litellm`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

ROOT = Path(__file__).parents[2]
BENCH = str(ROOT / "bench")

if TYPE_CHECKING:
    from fronts.guarded import Case, Outcome


@dataclass
class Proxy:
    """LiteLLM before a scripted model, with Recert beside it."""

    litellm: Any
    recert: Any
    model: Any
    folder: Path

    def ask(self, case: Case) -> Outcome:
        """Ask LiteLLM."""
        from fronts.guarded import ask

        return ask(self.litellm.url, self.model, case)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Both, running."""
    if not (ROOT / "build" / "peers" / "litellm" / "installed").exists():
        pytest.skip("LiteLLM is not installed: `python bench/litellm_guardrail.py` does that")
    sys.path.insert(0, BENCH)
    try:
        from fronts.guarded import CONFIG, start_litellm, start_recert
        from fronts.scripted import Scripted

        folder = tmp_path_factory.mktemp("litellm")
        with Scripted().running() as model:
            recert = start_recert(folder, model.url)
            try:
                litellm = start_litellm(folder / "litellm", model.url, recert.url, CONFIG.read_text())
                try:
                    yield Proxy(litellm, recert, model, folder)
                finally:
                    litellm.stop()
            finally:
                recert.stop()
    finally:
        sys.path.remove(BENCH)


def test_ordinary_requests_are_answered_and_audited_twice_each(proxy: Proxy) -> None:
    """Plain and streamed; each is a line for what was asked and one for what was said."""
    from fronts.guarded import Case
    from recert.store.audit.log import read_log

    log = proxy.folder / "recert" / "audit.jsonl"
    before = len(list(read_log(log))) if log.exists() else 0
    found = [proxy.ask(Case("the reply's text", "all is well", stream=stream)) for stream in (False, True)]
    lines = [line.body["decision"] for line in read_log(log)][before:]

    assert [(one.leaked, one.status) for one in found] == [(True, 200)] * 2
    assert lines == ["allowed-input", "allowed-output"] * 2


def test_what_is_forbidden_gets_through_nowhere_that_litellm_shows(proxy: Proxy) -> None:
    """
    In requests, replies, tool names and arguments, streams cut at every place, other writings: 0 get through.

    What LiteLLM does not show to a guardrail gets through, and the guide says so: no more than that.
    """
    from fronts.guarded import cases

    found = {(case.place, case.stream): (case, proxy.ask(case)) for case in cases()}
    leaked = {key for key, (case, outcome) in found.items() if outcome.leaked and not case.hidden}
    hidden = {key for key, (_, outcome) in found.items() if outcome.leaked}

    assert len(found) > 40
    assert leaked == set()
    assert hidden <= {("the reply's reasoning", False), ("the reply's refusal", False)}
    assert {outcome.status for case, outcome in found.values() if case.place.endswith("plain")} == {400}


def test_with_recert_killed_litellm_answers_nothing(proxy: Proxy) -> None:
    """`unreachable_fallback: fail_closed`: an error, and the model is not even asked. Last, as it stays killed."""
    from fronts.guarded import Case

    proxy.recert.kill()
    asked = len(proxy.model.asked)
    found = [proxy.ask(Case("the reply's text", "all is well", stream=stream)) for stream in (False, True)]

    assert [(one.leaked, one.status >= 400) for one in found] == [(False, True)] * 2
    assert len(proxy.model.asked) == asked
