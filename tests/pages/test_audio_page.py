"""The page of an evaluation of spoken requests."""

from __future__ import annotations

from recert.interval import Interval
from recert.pages.audio_page import audio_page, audio_panels, audio_results, modality_answers
from recert.records.reports.evaluation import EvalReport, Hearing, RuleResult, Verdict
from tests.builders import make_eval_report


def rate(point: float, n: int = 24) -> Interval:
    return Interval(point=point, low=max(-1, point - 0.2), high=min(1, point + 0.2), level=0.9, n=n)


def result(condition: str, tuned: float, estimand: str = "harm") -> RuleResult:
    return RuleResult(
        rule_id=estimand,
        suite="harmful <&>",
        condition=condition,
        estimand=estimand,
        base=rate(0.2),
        tuned=rate(tuned),
        change=rate(tuned - 0.2),
        margin=0.1,
        verdict=Verdict.UNDECIDED,
    )


HEARD = Hearing(
    suite="harmful <&>",
    condition="speech:loud-noise",
    voice="<i>voice</i>",
    transcriber="ears",
    clips=24,
    failed=3,
    word_error_rate=rate(0.31),
    heard=rate(0.38),
)
SPOKEN: EvalReport = make_eval_report().model_copy(
    update={
        "rules": (
            result("speech:loud-noise", 0.9),
            result("plain", 0.2),
            result("plain", 0.2, "incoherence"),
            result("family:base64", 0.3),
        ),
        "modalities": {"text": Verdict.PASS, "audio": Verdict.FAIL},
        "hearing": (HEARD,),
    }
)


def test_text_stands_beside_each_way_of_speaking():
    """
    What was asked by voice is drawn with the same suite in text first; what was asked in text alone is left out.
    """
    [panel] = audio_panels(SPOKEN)

    assert [said for _, said in panel.x_ticks] == ["text", "loud noise"]
    assert "loud noise, tuned: 90 % [70, 100]" in panel.alternative
    assert [r.condition for r in audio_results(SPOKEN)] == ["plain", "speech:loud-noise"]


def test_every_modality_has_an_answer_of_its_own():
    """
    A pass in text says nothing of audio, and whatever is not a pass says so.
    """
    text, audio = modality_answers(SPOKEN)

    assert (text.verdict, audio.verdict) == (Verdict.PASS, Verdict.FAIL)
    for verdict in set(Verdict) - {Verdict.PASS, Verdict.FAIL}:
        [one] = modality_answers(SPOKEN.model_copy(update={"modalities": {"audio": verdict}}))

        assert "no pass" in one.what


def test_the_page_says_what_was_heard_and_escapes_names():
    """
    Words wrong and clips lost stand beside harm; names from records are text; nothing is loaded from elsewhere.
    """
    page = audio_page({"<b>tuned</b>": SPOKEN})

    assert "31 % [11, 51]" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "&lt;b&gt;tuned" in page and "&lt;i&gt;voice" in page
    assert page.count('role="img"') == page.count("<svg") == 1


def test_an_evaluation_of_text_alone_says_so():
    """
    Where nothing was spoken the page says that, and claims no modality.
    """
    page = audio_page({"written": make_eval_report()})

    assert "No request of this evaluation was spoken." in page
    assert "no modality has a verdict of its own" in page
