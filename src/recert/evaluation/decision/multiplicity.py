"""
Many rules, one refusal: e-values corrected so that naming any rule that is not worse has chance alpha at most.

Rules share prompts, so their e-values depend on each other in unknown ways. The mean of e-values is an e-value
whatever the dependence, and nearly the only such way to merge them, so a closed test with means is used: a rule
stands refuted when every set of rules that holds it has a mean of 1 / alpha. That is Holm's procedure for e-values.
It controls the family-wise error and not, as e-BH does, the false discovery rate: a refusal names rules, a team
acts on each of them, and one wrong name among twenty is a wrong name.

Source: Vovk and Wang 2021, "E-values: calibration, combination and applications", Annals of Statistics 49(3),
algorithm 1; own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def adjusted(e_values: Sequence[float]) -> list[float]:
    """
    Return each e-value as what is left of it when all of them were looked at.

    Args:
        e_values: one per rule, 0 or more; infinity is allowed.

    Returns:
        For each rule the least mean over all sets of rules with it: compare it with 1 / alpha. Never more than
        its own e-value, and never less than that divided by the number of rules.
    """
    order = sorted(range(len(e_values)), key=e_values.__getitem__)
    sums = list(accumulate((e_values[i] for i in order), initial=0.0))
    out = [0.0] * len(e_values)
    for rank, at in enumerate(order):
        out[at] = min((sums[k] + e_values[at]) / (k + 1) for k in range(rank + 1))
    return out
