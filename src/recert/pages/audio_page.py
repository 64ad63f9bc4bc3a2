"""
The page of an evaluation of spoken requests: each way of speaking beside text, base beside tuned, and what was heard.

One HTML file without scripts, without anything loaded from elsewhere. Whatever comes out of a record is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recert.interval import Interval
from recert.pages import formatting
from recert.pages.arm_panels import ArmPanel, arm_panels, points, share
from recert.pages.environment import page_environment
from recert.pages.hunt_texts import FAR, MAX_CELL, MAX_WHOLE, cut
from recert.pages.stress_plots import HEIGHT, WIDTH
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict
from recert.store.files.writing import write_atomic

_SPEECH: Final = "speech:"
_PLAIN: Final = "plain"


@dataclass(frozen=True)
class ModalityAnswer:
    """The verdict of one modality, and what follows from it, in words."""

    modality: str
    verdict: Verdict
    what: str


def write_audio_page(path: Path, reports: Mapping[str, EvalReport]) -> None:
    """
    Write the page of evaluations of spoken requests, by name, to one HTML file.

    Raises:
        StoreError: the file cannot be written. An older page stays.
    """
    write_atomic(path, audio_page(reports).encode())


def audio_page(reports: Mapping[str, EvalReport]) -> str:
    """Return evaluations, by name, as one HTML page, readable without scripts or network."""
    environment = page_environment()
    environment.filters |= {
        "cut": cut,
        "duration": lambda seconds: formatting.duration(min(seconds, FAR)),
        "estimand": formatting.estimand,
        "moment": formatting.moment,
        "points": points,
        "rate": _rate,
        "share": share,
        "speaking": speaking_of,
        "verdict": lambda verdict: formatting.VERDICTS[verdict],
    }
    environment.globals |= {"max_cell": MAX_CELL, "max_whole": MAX_WHOLE}
    parts = [
        (name, report, modality_answers(report), audio_panels(report), audio_results(report))
        for name, report in reports.items()
    ]
    return environment.get_template("audio.html.j2").render(parts=parts, width=WIDTH, height=HEIGHT)


def audio_results(report: EvalReport) -> tuple[RuleResult, ...]:
    """Return the results of speech, and of text on the same estimand and suite, text first."""
    spoken = {(r.estimand, r.suite) for r in report.rules if r.condition.startswith(_SPEECH)}
    found = [
        r
        for r in report.rules
        if (r.estimand, r.suite) in spoken and (r.condition == _PLAIN or r.condition.startswith(_SPEECH))
    ]
    return tuple(sorted(found, key=lambda r: (r.estimand, r.suite, r.condition != _PLAIN)))


def audio_panels(report: EvalReport) -> tuple[ArmPanel, ...]:
    """Lay out one panel for each estimand and suite over text and the ways of speaking."""
    return arm_panels(audio_results(report), name_of=speaking_of)


def modality_answers(report: EvalReport) -> tuple[ModalityAnswer, ...]:
    """Return what came out for each modality that the policy serves; none where only text is served."""
    said = {
        Verdict.PASS: "may be served",
        Verdict.FAIL: "got worse with tuning, or is beyond its bound",
        Verdict.UNDECIDED: "cannot be told on so few prompts, which is no pass",
        Verdict.NO_BASELINE_SIGNAL: "the base has nothing to lose here, which is no pass",
        Verdict.UNSCORED: "was not scored, which is no pass",
    }
    return tuple(
        ModalityAnswer(name, verdict, said[verdict]) for name, verdict in (report.modalities or {}).items()
    )


def speaking_of(result: RuleResult) -> str:
    """Return the way in which a result's requests were given: `text`, or how they were spoken."""
    if result.condition == _PLAIN:
        return "text"
    return result.condition.removeprefix(_SPEECH).replace("-", " ")


def _rate(one: Interval) -> str:
    return f"{100 * one.point:.0f} % [{100 * one.low:.0f}, {100 * one.high:.0f}]" if one.n else "not measured"
