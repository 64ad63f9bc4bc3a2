"""A real model asked by itself and through an endpoint in one run, with a history."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recert.certification import read_unverified
from recert.monitoring.history import read_history

from .conftest import Run
from .world import COMMANDS, endpoint

pytestmark = pytest.mark.slow


@pytest.mark.xdist_group("torch")
def test_both_paths_of_a_real_model_are_asked_and_kept(tiny: Path, run: Run) -> None:
    """
    The weights are loaded and asked, the endpoint beside them does not answer: the history has both, and it suspends.

    Nothing of it is renewed, though a clean path would have been.
    """
    words = "--history history.jsonl --begin-history --raw --budget 12"
    with endpoint(lambda _: 404) as url:
        ended = run(tiny, COMMANDS["watch"].replace("http://127.0.0.1:9", url) + " " + words)
    certificate = read_unverified((tiny / "certificate.json").read_bytes())
    history = read_history(tiny / "history.jsonl", certificate)
    samples = {(s.through, s.estimand): (len(s.prompts), s.lost) for s in history.runs[0].samples}
    rates = sorted(certificate.canary)
    report = json.loads((tiny / "out.json").read_bytes())

    assert (ended.code, ended.out) == (1, "suspend out.json\n"), ended.err
    assert history.problem == ""
    each = 12 // (2 * len(rates))
    assert {key: asked for key, (asked, _) in samples.items()} == {
        (through, rate): each for through in ("raw", "served") for rate in rates
    }
    assert all(samples["served", rate][1] == each for rate in rates)
    assert all(
        samples["raw", rate][1] < each for rate in rates
    )  # a random model says a word that no judge reads
    assert report["through"] == "both"
    assert report["history"]["seq"] == 2
