"""Spoken requests of yesterday under another policy: by the words that were heard then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateways import MODEL, client, gateway, make_gateway_policy
from recert.gateway.audio.hearing import Words
from recert.gateway.replaying.backtest import backtest
from recert.gateway.replaying.replay import Replay
from recert.judges.protocol import Score
from recert.policy import Policy
from recert.records.live.backtest import BacktestReport
from recert.store.audit.reading import open_log
from recert.store.audit.texts import TextStore
from spoken import ScriptedEar, clip_part, make_audio_policy, make_wav, spoken, text_part

WAV, MUMBLED, NOISE = (make_wav(0.4, tone_hz=tone) for tone in (220, 330, 440))
EAR: dict[bytes, Any] = {WAV: "harmful words", MUMBLED: Words("good morning", 0.7), NOISE: Words("", None)}


class Harmful:
    """Finds `harmful` rather bad."""

    def score(self, prompt: str) -> Score:
        """Score the words."""
        return Score(0.8 if "harmful" in prompt else 0.0)


def kept_log(folder: Path) -> Path:
    """Ask a gateway that keeps texts: a clip, one that is hardly heard, one that is not, and a text."""
    policy = make_audio_policy()
    with (
        gateway(
            folder, lambda _: ["Yes."], policy=policy, transcriber=ScriptedEar(EAR), keep_texts=True,
            request_judge=Harmful(),
        ) as (server, _),
        client(server) as made,
    ):  # fmt: skip
        for part in (clip_part(WAV), clip_part(MUMBLED), clip_part(NOISE), text_part("hello")):
            made.chat.completions.create(model=MODEL, messages=spoken(text_part("Now"), part))  # type: ignore[arg-type]
    return folder / "audit.jsonl"


def tried(path: Path, policy: Policy) -> BacktestReport:
    """Try a policy on a log."""
    kept = TextStore(path, existing=True)
    try:
        replay = Replay(policy.gateway, request_judge=Harmful())
        return backtest(open_log(path), kept, policy, replay=replay)
    finally:
        kept.close()


def test_the_policy_that_heard_them_changes_nothing(tmp_path: Path) -> None:
    """What was heard is judged as it was; what was not stays blocked."""
    report = tried(kept_log(tmp_path), make_audio_policy())

    assert (report.newly_blocked.point, report.newly_released.point) == (0, 0)
    assert report.released_before == 3


def test_words_meet_the_thresholds_that_are_tried(tmp_path: Path) -> None:
    """A lower harm score blocks the spoken request, and a higher confidence the one that was hardly heard."""
    path = kept_log(tmp_path)

    stricter = tried(path, make_audio_policy(input_harm_score=0.5))
    surer = tried(path, make_audio_policy({"min_confidence": 0.8}))

    assert round(stricter.newly_blocked.point, 3) == round(1 / 3, 3)
    assert round(surer.newly_blocked.point, 3) == round(1 / 3, 3)


def test_a_policy_of_text_alone_blocks_what_was_spoken(tmp_path: Path) -> None:
    """Of clips it allows none; the written one goes on."""
    report = tried(kept_log(tmp_path), make_gateway_policy())

    assert round(report.newly_blocked.point, 3) == round(2 / 3, 3)


def test_words_that_were_forgotten_leave_the_exchange_undecided(tmp_path: Path) -> None:
    """A request whose transcript is gone is not judged by the rest of it."""
    path = kept_log(tmp_path)
    kept = TextStore(path, existing=True)
    heard = {stored for line in open_log(path) for stored in _transcripts(line.body)}
    kept.forget(digests=sorted(heard))
    kept.close()

    report = tried(path, make_audio_policy())

    assert report.newly_blocked.point == 0
    assert report.undecided >= 2


def _transcripts(body: dict[str, Any]) -> list[str]:
    return [clip["transcript_sha256"] for clip in body.get("clips", ()) if "transcript_sha256" in clip]
