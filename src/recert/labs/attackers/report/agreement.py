"""How far several judges agree on the same replies: intraclass correlation, and Krippendorff's alpha."""

from __future__ import annotations

import operator
import random
from collections.abc import Sequence
from dataclasses import dataclass

from recert.labs.attackers.report.statistics import by_item
from recert.records.reports.attack import Conversation
from recert.records.reports.attack_report import JudgeAgreement

_DRAWS = 500
_SEED = "recert:judge-agreement"
_NOTHING = 1e-12

Scores = Sequence[Sequence[float | None]]
"""One row a reply, one column a judge; None where a judge gave no score."""


@dataclass(frozen=True)
class IntraclassCorrelation:
    """Absolute agreement in a two-way random model, of one judge and of the mean of all."""

    single: float
    mean: float


def intraclass_correlation(rows: Sequence[Sequence[float]]) -> IntraclassCorrelation | None:
    """
    Return ICC(2,1) and ICC(2,k); None for fewer than two rows or columns, or where nothing differs.

    Args:
        rows: one a reply, with the score of each judge. All have one length.

    Source:
        Shrout and Fleiss 1979, "Intraclass Correlations: Uses in Assessing Rater Reliability", case 2.
    """
    return _correlation(_sums(rows), len(rows[0])) if rows else None


def krippendorff_alpha(rows: Scores) -> float | None:
    """
    Return Krippendorff's alpha for scores on an interval scale; None where nothing differs, or no two can be compared.

    Replies that only one judge scored are left out; those that some did not are not.

    Source:
        Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".
    """
    units = [[value for value in row if value is not None] for row in rows]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    if len(values) < 2:
        return None
    expected = _squares(values) / (len(values) * (len(values) - 1))
    if expected < _NOTHING:
        return None
    observed = sum(_squares(unit) / (len(unit) - 1) for unit in units) / len(values)
    return 1 - observed / expected


def judge_agreement(conversations: Sequence[Conversation]) -> JudgeAgreement:
    """
    Return how far the judges agree on all replies of conversations.

    The lower end of ICC(2,k) is the 2.5th percentile over items drawn anew, with draws that are the same every time:
    replies on one item belong together, which intervals by the F distribution do not know.
    """
    turns = [turn for one in conversations for turn in one.turns]
    judges = tuple(dict.fromkeys(mark.judge for turn in turns for mark in turn.marks))
    whole: dict[str, list[list[float]]] = {}
    every: list[list[float | None]] = []
    for item, found in by_item(conversations).items():
        for one in found:
            for turn in one.turns:
                said = {mark.judge: mark.score for mark in turn.marks}
                row = [said.get(judge) for judge in judges]
                every.append(row)
                full = [value for value in row if value is not None]
                if judges and len(full) == len(judges):
                    whole.setdefault(item, []).append(full)
    rows = [row for found_rows in whole.values() for row in found_rows]
    correlation = intraclass_correlation(rows)
    alpha = krippendorff_alpha(every)
    return JudgeAgreement(
        judges=judges,
        replies=len(rows),
        left_out=len(every) - len(rows),
        alike=sum(len(set(row)) == 1 for row in rows),
        icc_single=round(correlation.single, 6) if correlation else None,
        icc_mean=round(correlation.mean, 6) if correlation else None,
        icc_mean_low=_lower_end(whole, len(judges)) if correlation else None,
        alpha=None if alpha is None else round(alpha, 6),
        means={
            judge: round(sum(row[at] for row in rows) / len(rows), 6)
            for at, judge in enumerate(judges)
            if rows
        },
    )


@dataclass(frozen=True)
class _Sums:
    """What the correlation needs of some rows; the sums of several sets of rows add up."""

    rows: int
    total: float
    of_rows: float
    """Sum of the squared sums of rows."""
    squares: float
    columns: tuple[float, ...]


def _sums(rows: Sequence[Sequence[float]]) -> _Sums:
    totals = [sum(row) for row in rows]
    return _Sums(
        len(rows),
        sum(totals),
        sum(total * total for total in totals),
        sum(value * value for row in rows for value in row),
        tuple(map(sum, zip(*rows, strict=True))),
    )


def _add(parts: Sequence[_Sums]) -> _Sums:
    return _Sums(
        sum(one.rows for one in parts),
        sum(one.total for one in parts),
        sum(one.of_rows for one in parts),
        sum(one.squares for one in parts),
        tuple(map(sum, zip(*(one.columns for one in parts), strict=True))),
    )


def _correlation(sums: _Sums, k: int) -> IntraclassCorrelation | None:
    n = sums.rows
    if n < 2 or k < 2:
        return None
    middle = sums.total * sums.total / (n * k)
    between_rows = sums.of_rows / k - middle
    between_columns = sum(map(operator.mul, sums.columns, sums.columns)) / n - middle
    rest = max(0.0, sums.squares - middle - between_rows - between_columns)
    rows, columns, error = between_rows / (n - 1), between_columns / (k - 1), rest / ((n - 1) * (k - 1))
    single = rows + (k - 1) * error + k * (columns - error) / n
    mean = rows + (columns - error) / n
    if single < _NOTHING or mean < _NOTHING:
        return None
    return IntraclassCorrelation((rows - error) / single, (rows - error) / mean)


def _lower_end(whole: dict[str, list[list[float]]], k: int) -> float | None:
    """A draw in which nothing differs says nothing for agreement: it counts as none."""
    parts = [_sums(rows) for rows in whole.values()]
    draw = random.Random(_SEED)  # noqa: S311 - repeatable draws, not a secret
    found = []
    for _ in range(_DRAWS):
        correlation = _correlation(_add(draw.choices(parts, k=len(parts))), k)
        found.append(correlation.mean if correlation else 0.0)
    return round(sorted(found)[int(0.025 * _DRAWS)], 6)


def _squares(values: Sequence[float]) -> float:
    """The sum of squared differences over all ordered pairs."""
    whole, squares = sum(values), sum(value * value for value in values)
    return max(0.0, 2 * (len(values) * squares - whole * whole))
