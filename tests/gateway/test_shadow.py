"""Controls in shadow: they say what they would have done, and do nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateways import ask, ask_stream, client, gateway, make_gateway_policy
from recert.errors import GatewayError
from recert.judges.protocol import JudgeFailed, Score
from recert.models.chat.secret import SecretPrefix
from recert.records.reports.evaluation import JudgeNote, Verdict
from recert.store.audit.log import read_log

REPLY = [
    "The first sentence is long enough to be judged by itself, as sentences are, and it is bad. ",
    "Then ",
    "fine.",
]
WHOLE = "".join(REPLY)


class Finds:
    """Scores 1 for a text that ends with the word, else 0; or takes as long as it is told."""

    note = JudgeNote(id="finds", version="1", sensitivity=1, specificity=1)

    def __init__(self, word: str, pause_s: float = 0.0) -> None:
        self._word = word
        self._pause_s = pause_s
        self.asked = 0

    def score(self, *texts: str) -> Score | JudgeFailed:
        """Score the last text."""
        self.asked += 1
        time.sleep(self._pause_s)
        return Score(float(texts[-1].rstrip().endswith(self._word)))


def said(tmp_path: Path, *, stream: bool, script: Any = None, question: str = "Hello", **given: Any) -> Any:
    """Ask once; return what the client got, and the scores of the audit line by control and direction."""
    with (
        gateway(tmp_path, script or (lambda _: REPLY), **given) as (server, _),
        client(server) as made,
    ):
        if stream:
            got = ask_stream(made, question)
        else:
            choice = ask(made, question).choices[0]
            got = choice.message.content, choice.finish_reason
    line = read_log(tmp_path / "audit.jsonl")[-1].body
    return got, line["decision"], {(s["control"], s["direction"]): s for s in line["scores"]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("control", "direction", "reason", "given"),
    [
        ("input-judge", "input", "input-judge", {"request_judge": Finds("Hello")}),
        ("conversation", "input", "conversation-risk", {"request_judge": Finds("Hello")}),
        ("lexicon", "input", "forbidden-phrase", {"phrases": ("hello",)}),
        ("lexicon", "output", "forbidden-phrase", {"phrases": ("it is bad",)}),
        ("output-judge", "output", "output-judge", {"reply_judge": Finds("fine.")}),
    ],
)
def test_a_control_in_shadow_says_what_it_would_have_done(
    tmp_path: Path, control: str, direction: str, reason: str, given: dict[str, Any], *, stream: bool
) -> None:
    """The client gets every word; the line of the log has the score, the reason, and that it was in shadow."""
    phrases = given.get("phrases", ())
    judges = {name: judge for name, judge in given.items() if name != "phrases"}
    others = {"input-judge", "conversation"} - {control} if "request_judge" in given else set()
    policy = make_gateway_policy(
        forbidden_phrases=phrases,
        conversation={"blocked_at": 0.5},
        shadow=(control, *others),
    )

    got, decision, scores = said(tmp_path, stream=stream, policy=policy, **judges)
    acting, blocked, _ = said(
        tmp_path / "acting", stream=stream, policy=make_gateway_policy(**_acting(phrases, control)), **judges
    )

    assert got == (WHOLE, "stop")
    assert decision == "released"
    found = scores[control, direction]
    assert (found["shadow"], found["blocked"], found["reason"], found["score"]) == (True, False, reason, 1.0)
    assert acting[1] == "content_filter"
    assert blocked == f"blocked-{direction}"


def _acting(phrases: tuple[str, ...], control: str) -> dict[str, Any]:
    """The same controls, acting; where two would block, the other is not there."""
    conversation = {"blocked_at": 0.5, "active": control == "conversation"}
    return {"forbidden_phrases": phrases, "conversation": conversation}


def test_what_a_stream_would_have_ended_with_is_not_forgotten(tmp_path: Path) -> None:
    """A judge that objects to the first sentence and to nothing later has objected, and is not asked again."""
    judge = Finds("bad.")
    policy = make_gateway_policy(shadow=("output-judge",))

    got, decision, scores = said(tmp_path, stream=True, policy=policy, reply_judge=judge)

    assert (got, decision) == ((WHOLE, "stop"), "released")
    assert scores["output-judge", "output"]["reason"] == "output-judge"
    assert judge.asked == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_control_in_shadow_that_does_not_answer_keeps_nothing_back(tmp_path: Path, *, stream: bool) -> None:
    """A judge that is too slow is a line of the log, and no block."""
    policy = make_gateway_policy(control_timeout_s=0.05)
    judges = {"request_judge": Finds("x", 0.3), "reply_judge": Finds("x", 0.3)}

    got, _, scores = said(tmp_path, stream=stream, policy=policy, shadow=["all"], **judges)

    assert got == (WHOLE, "stop")
    for key in (("input-judge", "input"), ("output-judge", "output")):
        assert (scores[key]["reason"], scores[key].get("score")) == ("control-timeout", None)


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_never_in_shadow_acts(tmp_path: Path, *, stream: bool) -> None:
    """With `all` in shadow the secret is kept all the same, and a request that is too long is blocked."""
    secret = SecretPrefix.generate()
    certificate = {
        "required_controls": ("secret-prefix",),
        "verdict_safeguarded": Verdict.PASS,
        "secret_sha256": secret.sha256,
    }
    policy = make_gateway_policy(forbidden_phrases=("napalm",), max_input_chars=20)
    given = {"policy": policy, "certificate": certificate, "secret": secret, "shadow": ["all"]}

    def leak(messages: list[dict[str, str]]) -> list[str]:
        return ["napalm, and ", *messages[0]["content"]]

    got, decision, scores = said(tmp_path / "a", stream=stream, script=leak, **given)
    long, blocked, _ = said(tmp_path / "b", stream=stream, question="Hello " * 10, **given)

    assert (got[1], decision) == ("content_filter", "blocked-output")
    assert secret.reveal()[:8] not in got[0]
    assert scores["lexicon", "output"]["reason"] in ("secret-echo", "forbidden-phrase")
    assert (long, blocked) == (("", "content_filter"), "blocked-input")


@pytest.mark.parametrize("where", ["policy", "argument"])
@pytest.mark.parametrize("name", ["lexicon", "all"])
def test_a_required_control_is_never_in_shadow(tmp_path: Path, where: str, name: str) -> None:
    """A gateway that would only watch what the certificate requires does not start."""
    required = {"required_controls": ("lexicon",), "verdict_safeguarded": Verdict.PASS}
    shadow = {"shadow": (name,)} if where == "policy" else {}
    policy = make_gateway_policy(forbidden_phrases=("napalm",), **shadow)
    more = {"shadow": [name]} if where == "argument" else {}

    with (
        pytest.raises(GatewayError) as caught,
        gateway(tmp_path, lambda _: REPLY, policy=policy, certificate=required, **more),
    ):
        pass

    assert caught.value.reason == "control-in-shadow"


@pytest.mark.parametrize("name", ["limits", "secret-prefix", "output-judge", "no-such"])
def test_shadow_for_what_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    """A name that stands for no control, or for one that always acts, keeps the gateway from starting."""
    with (
        pytest.raises(GatewayError) as caught,
        gateway(tmp_path, lambda _: REPLY, shadow=[name], request_judge=Finds("x")),
    ):
        pass

    assert caught.value.reason == "unknown-control"


def test_the_status_says_what_only_watches(tmp_path: Path) -> None:
    """Every control is named as active, and those in shadow apart."""
    policy = make_gateway_policy(forbidden_phrases=("napalm",), shadow=("lexicon",))
    with gateway(tmp_path, lambda _: REPLY, policy=policy, request_judge=Finds("x")) as (server, _):
        state = httpx.get(server.url + "/status").json()

    assert state["controls"] == ["conversation", "lexicon", "input-judge"]
    assert state["shadow"] == ["lexicon"]
    assert state["unguarded"] == ["the gateway's control lexicon is in shadow: it scores and blocks nothing"]
