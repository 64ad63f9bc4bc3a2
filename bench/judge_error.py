"""
How often any judge errs, on any labelled CSV file: the counts that its note should hold.

    python bench/judge_error.py labelled.csv --judge refusal --reply completion --label final_label --positive 2
    python bench/judge_error.py labelled.csv --judge llama-guard-3 --url http://127.0.0.1:8000/v1 --model llama-guard

A row is positive when its label begins with `--positive`, negative when it begins with `--negative`, else it is left
out. Judges of requests by themselves are used where `--reply` is not given. Intervals are exact (Clopper-Pearson) and
take the rows for independent. Failed scores are counted apart and count as wrong. `--rewordings` puts the question of
a judge that a model reads for in five other wordings too, and counts the rows whose verdict is not the same in all.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

from recert.errors import InputError, RecertError
from recert.interval import exact_interval
from recert.judges.naming import REPLY_JUDGES, REQUEST_JUDGES, reply_judge, request_judge
from recert.judges.protocol import JudgeFailed, ReplyJudge, RewordedJudge, Score
from recert.judges.scoring import score_each
from recert.models.protocol import Model
from recert.models.remote.endpoint import EndpointModel
from recert.records.reports.evaluation import JudgeNote


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--judge", required=True, help=", ".join(dict.fromkeys((*REPLY_JUDGES, *REQUEST_JUDGES)))
    )
    parser.add_argument("--request", default="prompt", help="column of the request")
    parser.add_argument("--reply", default="", help="column of the reply; none for judges of requests")
    parser.add_argument("--label", default="label", help="column of the label")
    parser.add_argument("--positive", default="1", help="how the label of a positive begins")
    parser.add_argument(
        "--negative", default="", help="how the label of a negative begins; empty for all others"
    )
    parser.add_argument("--at", type=float, default=0.5, help="score from which a row counts as found")
    parser.add_argument("--rewordings", action="store_true", help="ask in five other wordings too")
    parser.add_argument("--url", default="", help="where the judge's model is served")
    parser.add_argument("--model", default="", help="its name there, or a folder with a local model")
    parser.add_argument(
        "--key-variable", default="OPENAI_API_KEY", help="environment variable of the API key"
    )
    return parser.parse_args()


def reader(asked: argparse.Namespace) -> Model | None:
    """Return the model that the judge reads with, where it needs one."""
    if asked.url:
        return EndpointModel(asked.url, asked.model, api_key=os.environ.get(asked.key_variable))
    if not asked.model:
        return None
    from recert.models.engines.local import LocalModel

    return LocalModel.load(Path(asked.model))


def rows(asked: argparse.Namespace) -> tuple[list[tuple[str, str]], list[bool]]:
    """Return (request, reply) and whether it is positive, for each labelled row."""
    pairs, positive = [], []
    with asked.file.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            label = row[asked.label]
            if label.startswith(asked.positive) or label.startswith(asked.negative):
                pairs.append((row[asked.request], row[asked.reply] if asked.reply else ""))
                positive.append(label.startswith(asked.positive))
    return pairs, positive


def scores(
    asked: argparse.Namespace, pairs: list[tuple[str, str]]
) -> tuple[JudgeNote, list[Score | JudgeFailed], dict[str, object]]:
    """Return the judge's note, what it says of each row, and what rewording did where that was asked for."""
    if asked.reply:
        judge = reply_judge(asked.judge, reader(asked))
        said = score_each(judge, pairs)
        return (
            judge.note,
            said,
            {"reworded": reworded(judge, pairs, said, asked.at)} if asked.rewordings else {},
        )
    requests = request_judge(asked.judge, reader(asked))
    return requests.note, [requests.score(request) for request, _ in pairs], {}


def reworded(
    judge: ReplyJudge, pairs: list[tuple[str, str]], said: list[Score | JudgeFailed], at: float
) -> dict[str, int]:
    """Return in how many rows the verdict is another one in at least one other wording."""
    if not isinstance(judge, RewordedJudge):
        raise InputError("this judge has no question that could be reworded", facts={"judge": judge.note.id})
    others = [[_verdict(one, at) for one in score_each(other, pairs)] for other in judge.in_other_words()]
    each = zip(*others, strict=True)
    flipped = sum(set(theirs) != {_verdict(ours, at)} for ours, theirs in zip(said, each, strict=True))
    return {"wordings": len(others), "replies": len(pairs), "flipped": flipped}


def _verdict(said: Score | JudgeFailed, at: float) -> bool | None:
    return said.value >= at if isinstance(said, Score) else None


def counted(asked: argparse.Namespace) -> dict[str, object]:
    """Return the note's fields, as counted, and how many scores failed."""
    pairs, positive = rows(asked)
    note, said, more = scores(asked, pairs)
    failed = sum(isinstance(s, JudgeFailed) for s in said)
    found = [isinstance(s, Score) and s.value >= asked.at for s in said]
    passed = [isinstance(s, Score) and s.value < asked.at for s in said]
    positives, negatives = sum(positive), len(positive) - sum(positive)
    hits = sum(f for f, p in zip(found, positive, strict=True) if p)
    clear = sum(c for c, p in zip(passed, positive, strict=True) if not p)
    return {
        "id": note.id, "version": note.version, "estimand": note.estimand, "digest": note.digest,
        "positives": positives, "true_positives": hits, "negatives": negatives, "true_negatives": clear,
        "sensitivity_interval": _interval(hits, positives), "specificity_interval": _interval(clear, negatives),
        "sensitivity": round(hits / positives, 4) if positives else None,
        "specificity": round(clear / negatives, 4) if negatives else None,
        "measured_at_score": asked.at, "measured_on": asked.file.name, "failed": failed,
        **more,
    }  # fmt: skip


def _interval(count: int, of: int) -> list[float]:
    found = exact_interval(count, of, level=0.95)
    return [round(found.low, 4), round(found.high, 4)]


def main() -> int:
    """Print the counts as JSON. Exit 0: counted, 2: could not."""
    if len(sys.argv) == 1:
        print(json.dumps({"claim": "a judge's error", "value": None, "aim": None, "met": None,
                          "reason": "give a labelled CSV file"}))  # fmt: skip
        return 0
    try:
        made = counted(arguments())
    except (RecertError, KeyError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    print(json.dumps(made | {"versions": {"recert": version("recert")}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
