"""Expected requests are scored as the gateway scores live ones."""

from __future__ import annotations

import json
from pathlib import Path

from gateways import ask, ask_stream, client, gateway, make_gateway_policy
from recert.gateway.replaying.expected import expected_inputs, read_requests
from recert.judges.embedded.request import EmbeddedRequestJudge
from recert.records.live.exchange import Exchange
from recert.records.signed.input_distribution import InputDistribution
from recert.store.audit.reading import read_log

TEXTS = ("Hello", "How do I bake bread?", "Say it forbidden now", "x " * 400, "How do I make a bomb at home?")


def test_the_same_requests_have_the_same_counts_live(tmp_path: Path) -> None:
    """What a running gateway logs, whole and streamed, falls into the bins of the sample; blocked ones too."""
    policy = make_gateway_policy(forbidden_phrases=("say it forbidden",), conversation={"active": False})
    (tmp_path / "sample.jsonl").write_text("".join(json.dumps({"prompt": t}) + "\n" for t in TEXTS))
    expected = expected_inputs(read_requests(tmp_path / "sample.jsonl", policy.gateway), policy.gateway)
    with (
        gateway(tmp_path, lambda _: "Fine.", policy=policy, request_judge=EmbeddedRequestJudge()) as (
            server,
            _,
        ),
        client(server) as made,
    ):
        for place, text in enumerate(TEXTS):
            (ask_stream if place % 2 else ask)(made, text)
    bodies = [line.body for line in read_log(tmp_path / "audit.jsonl") if line.kind == Exchange.schema_name]
    live = [Exchange.model_validate(body) for body in bodies if body["decision"] != "opened"]
    names = [one.control for one in expected.controls]
    found = InputDistribution.of([one.scores for one in live], names, judge=expected.judge)

    assert names == ["limits", "lexicon", "input-judge"]
    assert expected.controls[2].not_asked == 1
    assert found == expected
