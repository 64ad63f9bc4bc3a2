"""Another policy on the exchanges of a log: what would have been blocked, and what released."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from click.testing import Result
from typer.testing import CliRunner

from certified_folders import Certified
from gateways import MODEL, ScriptedUpstream, ask, ask_stream, client, gateway, make_gateway_policy
from postgres import server as postgres_server
from recert.cli.app import app
from recert.digest import sha256_bytes
from recert.errors import InputError
from recert.gateway.guardrail.requests import ROUTE
from recert.gateway.replaying.backtest import backtest
from recert.gateway.replaying.replay import Replay
from recert.gateway.serving.edge_config import EdgeConfig
from recert.judges.protocol import JudgeFailed, Score
from recert.policy import Policy, load_policy
from recert.records.live.backtest import BacktestReport
from recert.records.live.exchange import ControlScore, Exchange
from recert.records.record import now
from recert.records.reports.evaluation import JudgeNote, Verdict
from recert.store.audit.log import AuditLog
from recert.store.audit.reading import open_log
from recert.store.audit.texts import TextStore
from recert.store.database import upgrade
from served_process import serve_command, served_process

POLICY = """
id = "p"
version = "{version}"
[evaluation]
families = ["year_2025", "skeleton"]
min_harmful_suites = 1
[gateway]
recheck_s = 0.25
forbidden_phrases = {phrases}
[[rules]]
id = "harm"
suite = "harmful"
estimand = "harm"
conditions = ["plain", "family:*"]
margin = 0.1
[[rules]]
id = "over-refusal"
suite = "lookalikes"
estimand = "over_refusal"
margin = 0.1
"""


class Harm:
    """Scores requests by words that give their own score: `harm:0.7 hate`."""

    note = JudgeNote(id="harm", version="1", sensitivity=1, specificity=1)

    def score(self, *texts: str) -> Score | JudgeFailed:
        """Score the last text."""
        found = re.findall(r"harm:([0-9.]+) ?(\w*)", texts[-1])
        value, category = max(((float(number), name) for number, name in found), default=(0.0, ""))
        return Score(value, categories=(category,) if category else ())


def echo(messages: list[dict[str, str]]) -> list[str]:
    """Say what was said."""
    return [word + " " for word in messages[-1]["content"].split()]


def write_policy(path: Path, *phrases: str, version: str = "1") -> Path:
    """Write a policy whose gateway blocks these phrases."""
    path.write_text(POLICY.format(version=version, phrases=json.dumps(phrases)))
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `recert` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "recert", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def invoked(*arguments: object) -> Result:
    """Run `recert` in this process."""
    return CliRunner().invoke(app, [*map(str, arguments)])


@contextmanager
def serving(folder: Path, policy: Path, *more: object) -> Iterator[openai.OpenAI]:
    """Run `recert serve` in front of an echo; the log is `folder/audit.jsonl`."""
    one = Certified(folder / "model", policy=load_policy(policy), name=MODEL)
    with ScriptedUpstream(echo).running() as upstream:
        command = serve_command(one, policy, upstream.url, "--audit", folder / "audit.jsonl", *more)
        with (
            served_process(command) as url,
            openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=20) as made,
        ):
            yield made


@pytest.mark.slow
def test_a_policy_is_tried_on_the_log_of_a_gateway(tmp_path: Path) -> None:
    """What one process served another lexicon judges: by control, examples by digest, an exit code by bounds."""
    old = write_policy(tmp_path / "old.toml", "castle rock")
    new = write_policy(tmp_path / "new.toml", "marmalade", version="2")
    log = tmp_path / "audit.jsonl"
    with serving(tmp_path, old, "--keep-texts") as made:
        for text in ("Good morning", "What is bread?", "Is m\u200barmalade sweet?"):
            ask(made, text)
            ask_stream(made, text)
        ask(made, "Where is castle rock?")
        with pytest.raises(openai.BadRequestError):
            ask(made, "Good night", extra_body={"best_of": 2})
        done = run("backtest", log, "--policy", new, "--json")

    report = BacktestReport.from_json(done.stdout.encode())
    shown = invoked("backtest", log, "--policy", new, "--texts", "--max-newly-blocked", 0.9)
    bounded = invoked("backtest", log, "--policy", new, "--max-newly-released", 0.1)
    alone = invoked("backtest", log, "--policy", new, "--since", "2999-01-01")

    assert done.returncode == 0, done.stderr
    assert (report.compared, report.released_before, report.blocked_before) == (7, 6, 1)
    assert report.left_out == {"refused": 1}
    assert (report.newly_blocked.point, report.newly_blocked.n) == (2 / 6, 6)
    assert (report.newly_released.point, report.newly_released.n) == (1.0, 1)
    (searched,) = [c for c in report.controls if (c.control, c.direction) == ("lexicon", "input")]
    assert (searched.asked, searched.asked_before, searched.objects_before, searched.objects) == (7, 7, 1, 2)
    assert [e.change for e in report.examples] == ["newly-blocked", "newly-blocked", "newly-released"]
    assert {e.reason for e in report.examples} == {"forbidden-phrase"}
    assert "armalade" not in done.stdout + done.stderr
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout == "7 compared, 2 newly blocked, 1 newly released\n"
    assert "Where is castle rock?" in shown.stderr
    assert bounded.exit_code == 1
    assert isinstance(alone.exception, InputError)


def replayed(path: Path, policy: Policy, **more: Any) -> BacktestReport:
    """Try a policy on a log with the judge of words."""
    replay = Replay(policy.gateway, request_judge=Harm(), reply_judge=more.pop("reply_judge", None))
    kept = TextStore(path, existing=True)
    try:
        return backtest(open_log(path), kept, policy, replay=replay, **more)
    finally:
        kept.close()


def served(
    tmp_path: Path, policy: Policy, asked: Sequence[str], *, stream: bool = False, **judges: Any
) -> Path:
    """Ask a gateway that keeps texts; return its log."""
    with (
        gateway(tmp_path, echo, policy=policy, keep_texts=True, request_judge=Harm(), **judges) as (
            server,
            _,
        ),
        client(server) as made,
    ):
        for text in asked:
            (ask_stream if stream else ask)(made, text)
    return tmp_path / "audit.jsonl"


ASKED = ("Good morning", "harm:0.95 hate", "say napalm", "harm:0.7 hate", "harm:0.7 privacy", "harm:0.2")


@pytest.mark.parametrize("stream", [False, True])
def test_the_policy_that_decided_changes_nothing(tmp_path: Path, *, stream: bool) -> None:
    """Asked again, every control says what the log says; only what follows a cut reply is not known."""
    policy = make_gateway_policy(forbidden_phrases=("napalm",), shadow=("input-judge",))
    path = served(tmp_path, policy, ASKED, stream=stream, reply_judge=Harm())

    report = replayed(path, policy, reply_judge=Harm())

    assert (report.compared, report.newly_blocked.point, report.newly_released.point) == (6, 0, 0)
    assert report.undecided == 0  # the reply judge's score is in the log
    for one in report.controls:
        assert (one.newly_objects.point, one.no_longer_objects.point, one.objects_first) == (0, 0, 0)
    assert {(c.control, c.shadow) for c in report.controls} >= {("input-judge", True), ("lexicon", False)}


def test_thresholds_are_tried_category_by_category(tmp_path: Path) -> None:
    """A stricter level for one category and a looser one for another: counted apart, with intervals."""
    path = served(tmp_path, make_gateway_policy(), ASKED)
    tried = make_gateway_policy(thresholds={"hate": "none", "privacy": "medium_and_above"})

    report = replayed(path, tried)

    assert (report.newly_blocked.point, report.newly_blocked.n) == (1 / 5, 5)
    assert (report.newly_released.point, report.newly_released.n) == (1.0, 1)
    by_name = {c.category: (c.newly_blocked.point, c.newly_released.point) for c in report.categories}
    assert by_name == {"hate": (0, 1.0), "privacy": (1 / 5, 0)}
    blocked, released = report.examples
    assert (blocked.control, blocked.category, blocked.score_before, blocked.score_after) == (
        "input-judge", "privacy", 0.7, 0.7,
    )  # fmt: skip
    assert (released.before, released.after, released.score_after) == ("blocked-input", "released", 0.95)
    assert "the gateway scores harm of the category hate and blocks none of it" in report.notes


def test_what_was_in_shadow_blocks_once_it_acts(tmp_path: Path) -> None:
    """A control that only watched objected to as many as it does now; what changes is what is done about it."""
    path = served(tmp_path, make_gateway_policy(shadow=("all",)), ASKED)

    report = replayed(path, make_gateway_policy())

    assert (report.released_before, report.newly_blocked.point) == (6, 1 / 6)
    (judge,) = [c for c in report.controls if c.control == "input-judge"]
    assert (judge.objects_before, judge.objects, judge.newly_objects.point) == (1, 1, 0)


def test_a_request_that_the_policy_no_longer_reads_counts_as_blocked(tmp_path: Path) -> None:
    """A field that is not allowed any more is refused, and the code says so."""
    policy = make_gateway_policy(allow=("stop",))
    with (
        gateway(tmp_path, echo, policy=policy, keep_texts=True, request_judge=Harm()) as (server, _),
        client(server) as made,
    ):
        ask(made, "Good morning", stop=["never"])

    report = replayed(tmp_path / "audit.jsonl", make_gateway_policy())

    assert (report.examples[0].after, report.examples[0].reason) == ("refused", "not_certified")


def test_a_reply_is_searched_as_it_was_released(tmp_path: Path) -> None:
    """A phrase that only the reply has blocks it now; one that was cut before is not known to be let through."""
    policy = make_gateway_policy(forbidden_phrases=("napalm",))

    def jam(_: list[dict[str, str]]) -> list[str]:
        return ["It ", "was ", "mar", "malade"]

    with gateway(tmp_path, jam, policy=policy, keep_texts=True) as (server, _), client(server) as made:
        ask(made, "What was it?")
        ask_stream(made, "What was it?")
    searched = make_gateway_policy(forbidden_phrases=("marmalade",))
    found = replayed(tmp_path / "audit.jsonl", searched)
    with (
        gateway(tmp_path / "cut", jam, policy=searched, keep_texts=True) as (server, _),
        client(server) as made,
    ):
        ask(made, "What was it?")
        ask_stream(made, "What was it?")
    cut = replayed(tmp_path / "cut" / "audit.jsonl", policy)
    still = replayed(tmp_path / "cut" / "audit.jsonl", make_gateway_policy(forbidden_phrases=("it was",)))

    assert (found.newly_blocked.point, found.undecided) == (1.0, 0)
    assert {(e.after, e.control) for e in found.examples} == {("blocked-output", "lexicon")}
    assert (cut.blocked_before, cut.newly_released.point, cut.undecided) == (2, 0, 2)
    assert (still.newly_released.point, still.undecided) == (0, 1)  # of the plain one nothing was released


def test_a_control_that_failed_is_asked_again(tmp_path: Path) -> None:
    """What was blocked because a judge broke down is decided now; the line of a failure is read like any other."""

    class Broken(Harm):
        def score(self, *texts: str) -> Score | JudgeFailed:
            return JudgeFailed("broken") if "Good" in texts[-1] else super().score(*texts)

    policy = make_gateway_policy(conversation={"active": False})
    with (
        gateway(tmp_path, echo, policy=policy, keep_texts=True, request_judge=Broken()) as (server, _),
        client(server) as made,
    ):
        ask(made, "Good morning")
        ask(made, "Fine day")
    path = tmp_path / "audit.jsonl"

    assert replayed(path, policy).newly_released.point == 1.0
    broken = Replay(policy.gateway, request_judge=Broken())
    kept = TextStore(path, existing=True)
    again = backtest(open_log(path), kept, policy, replay=broken)
    kept.close()
    assert (again.newly_released.point, again.newly_blocked.point) == (0, 0)
    assert [(c.control, c.failed) for c in again.controls if c.failed] == [("input-judge", 1)]


def test_the_risk_of_conversations_is_replayed(tmp_path: Path) -> None:
    """A conversation that climbs, turn by turn: a stricter bound blocks it from the turn at which it reaches that."""
    path = tmp_path / "audit.jsonl"
    with (
        gateway(tmp_path, echo, policy=make_gateway_policy(), keep_texts=True, request_judge=Harm()) as (
            server,
            _,
        ),
        client(server) as made,
    ):
        turns: list[Any] = []
        for number in range(4):
            turns.append(
                {"role": "user", "content": f"a longer turn of this conversation, {number} harm:0.7"}
            )
            made.chat.completions.create(model=MODEL, messages=turns)
            turns.append({"role": "assistant", "content": "Well."})
    tried = make_gateway_policy(conversation={"blocked_at": 1.0})

    report = replayed(path, tried)

    (risk,) = [c for c in report.controls if c.control == "conversation"]
    assert (risk.asked, risk.objects_before, risk.objects) == (4, 0, 2)
    assert {e.reason for e in report.examples} == {"conversation-risk"}


def test_people_behind_one_client_are_told_apart_in_the_log(tmp_path: Path) -> None:
    """By the digest of the name that the client gave: what one of them said is no risk of another's."""
    with (
        gateway(tmp_path, echo, policy=make_gateway_policy(), keep_texts=True, request_judge=Harm()) as (
            server,
            _,
        ),
        client(server) as made,
    ):
        both = "a longer turn that all of them say, harm:0.6"
        for name, text in (("alice", "a longer turn, harm:0.7"), ("alice", both), ("bob", both)):
            ask(made, text, extra_headers={"x-recert-conversation": name})

    path = tmp_path / "audit.jsonl"
    named = [line.body["conversation_sha256"] for line in open_log(path)]
    report = replayed(path, make_gateway_policy(conversation={"blocked_at": 0.5}))

    assert named[0] == named[1] != named[2]
    assert "alice" not in path.read_text()
    (risk,) = [c for c in report.controls if c.control == "conversation"]
    assert (risk.asked, risk.objects_before, risk.objects) == (3, 0, 1)


def test_what_litellm_asked_about_is_asked_again(tmp_path: Path) -> None:
    """Requests and replies elsewhere, whole in the log: each is decided anew, blocked ones too."""
    policy = make_gateway_policy(forbidden_phrases=("castle rock",))
    given: dict[str, Any] = {"keep_texts": True, "request_judge": Harm(), "front": EdgeConfig(guardrail=True)}
    with gateway(tmp_path, echo, policy=policy, **given) as (server, _):
        for direction in ("request", "response"):
            for text in ("Good morning", "marmalade", "castle rock"):
                value = {"input_type": direction, "texts": [text]}
                httpx.post(server.url + ROUTE, json=value).raise_for_status()

    same = replayed(tmp_path / "audit.jsonl", policy)
    report = replayed(tmp_path / "audit.jsonl", make_gateway_policy(forbidden_phrases=("marmalade",)))

    assert (same.compared, same.released_before, same.blocked_before) == (6, 4, 2)
    assert (same.newly_blocked.point, same.newly_released.point, same.undecided) == (0, 0, 0)
    assert (report.newly_blocked.point, report.newly_released.point) == (2 / 4, 1.0)
    assert sorted((e.before, e.after) for e in report.examples) == [
        ("allowed-input", "blocked-input"),
        ("allowed-output", "blocked-output"),
        ("blocked-input", "allowed-input"),
        ("blocked-output", "allowed-output"),
    ]


def append(
    log: AuditLog,
    number: int,
    text: str,
    *,
    decision: str = "released",
    model: str = MODEL,
    keep: bool = True,
) -> str:
    """Append an exchange of these words; return the digest of its request."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}]}).encode()
    blocked = decision == "blocked-input"
    digest = sha256_bytes(body)
    exchange = Exchange(
        request_id=f"r{number}",
        client="local",
        certificate_serial="s",
        model_name=model,
        request_sha256=digest,
        reply_sha256=sha256_bytes(b"Fine."),
        decision=decision,
        reason="input-judge" if blocked else "",
        scores=(ControlScore(control="input-judge", direction="input", score=0.5, blocked=blocked),),
        streamed=False,
        released_chars=5,
        seconds=0.1,
        received_at=now(),
    )
    log.append(exchange, {digest: body, sha256_bytes(b"Fine."): b"Fine."} if keep else None)
    return digest


@pytest.mark.slow
def test_losing_texts_never_makes_an_answer_looser(tmp_path: Path) -> None:
    """Each text that is deleted, or changed, counts as a change wherever a bound was stated."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, keep_texts=True) as log:
        digests = [append(log, n, f"{'harm:0.95' if n % 4 == 0 else 'Good morning'} {n}") for n in range(12)]
        digests += [append(log, n, f"harm:0.95 {n}", decision="blocked-input") for n in range(12, 18)]
    bounds = {"most_newly_blocked": 0.6, "most_newly_released": 0.5}
    whole = replayed(path, make_gateway_policy(), **bounds)
    before = [bound.share for bound in whole.bounds]

    assert [bound.verdict for bound in whole.bounds] == [Verdict.PASS, Verdict.PASS]
    for number, digest in enumerate(digests[:-1], start=1):
        kept = TextStore(path, existing=True)
        kept.forget(digests=[digest])
        if number == 1:
            kept.keep({digest: b'{"model": "test-model", "messages": [{"role": "user", "content": "x"}]}'})
        kept.close()
        report = replayed(path, make_gateway_policy(), **bounds)
        after = [bound.share for bound in report.bounds]

        assert report.left_out["no-text"] == number
        assert [share.n for share in after] == [12, 6]
        assert all(new.high >= old.high for new, old in zip(after, before, strict=True))
        before = after
    assert report.verdict == Verdict.FAIL


def test_there_must_be_something_to_compare(tmp_path: Path) -> None:
    """A log without texts, and one of several models, are no answer."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, keep_texts=True) as log:
        append(log, 1, "Good morning", keep=False)
    with pytest.raises(InputError, match="no exchange"):
        replayed(path, make_gateway_policy())
    with AuditLog(path, keep_texts=True) as log:
        append(log, 2, "Good morning")
        append(log, 3, "Good morning", model="other")
    with pytest.raises(InputError, match="several models"):
        replayed(path, make_gateway_policy())


@pytest.mark.slow
def test_a_shared_database_is_read_as_a_file_is(tmp_path: Path) -> None:
    """The same exchanges in PostgreSQL give the same figures."""
    path = tmp_path / "audit.jsonl"
    with postgres_server() as running:
        url = running.database()
        upgrade(url)
        for where, more in ((path, {}), (url, {"node": "a"})):
            with AuditLog(where, keep_texts=True, **more) as log:  # type: ignore[arg-type]
                for number, text in enumerate(ASKED):
                    append(log, number, text)
        policy = write_policy(tmp_path / "policy.toml", "napalm")
        table = run("backtest", url, "--policy", policy, "--json")
    file = run("backtest", path, "--policy", policy, "--json")

    found = [json.loads(done.stdout) for done in (table, file)]
    for one in found:
        del (
            one["backtested_at"],
            one["last_line_sha256"],
            one["since"],
            one["until"],
            one["examples"][0]["received_at"],
        )
    assert found[0] == found[1]
    assert found[0]["newly_blocked"]["n"] == 6
