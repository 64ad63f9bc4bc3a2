"""How controls scored the requests that were expected when a model was certified: counts, and no text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from recert.records.live.exchange import ControlScore
from recert.records.record import Part

SCORE_EDGES: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Where bins of scores begin: fine near zero, where ordinary requests and the lengths of short ones lie."""


class ControlCounts(Part):
    """How many requests one control gave which scores."""

    control: str
    scores: tuple[int, ...]
    """Requests in each bin: below the first edge, from each edge to the next, and from the last edge on."""
    failed: int = Field(default=0, ge=0)
    """Requests for which it gave no score."""
    not_asked: int = Field(default=0, ge=0)
    """Requests that an earlier control blocked, so that this one was not asked."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Requests in every bin, the last two those that failed and those that it was not asked about."""
        return (*self.scores, self.failed, self.not_asked)

    @classmethod
    def of(cls, control: str, requests: Sequence[Sequence[ControlScore]], edges: Sequence[float]) -> Self:
        """Return the counts of one control; of each request there is what every control said of it."""
        counts = [0] * (len(edges) + 1)
        failed = not_asked = 0
        for scores in requests:
            said = next((s for s in scores if s.direction == "input" and s.control == control), None)
            if said is None:
                not_asked += 1
            elif said.score is None:
                failed += 1
            else:
                counts[bisect_right(edges, said.score)] += 1
        return cls(control=control, scores=tuple(counts), failed=failed, not_asked=not_asked)


class InputDistribution(Part):
    """
    How controls of requests scored a sample of them, in bins.

    The scores are those that the gateway's audit log holds of every request, so that live requests can be compared
    with it without the text of either. Of `limits` the score is the length, as a share of what is allowed.
    """

    source: Literal["expected-traffic"] = "expected-traffic"
    """Whose requests: a sample of expected ones, given by who certifies."""
    requests: int = Field(ge=1)
    edges: tuple[float, ...]
    """Where bins of scores begin, ascending."""
    controls: tuple[ControlCounts, ...] = Field(min_length=1)
    judge: str = ""
    """Id and version of the judge behind `input-judge`; another one scores the same requests otherwise."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError("edges are not ascending")
        names = [one.control for one in self.controls]
        if len(set(names)) < len(names):
            raise ValueError("a control is named twice")
        for one in self.controls:
            if len(one.scores) != len(self.edges) + 1 or min(one.scores) < 0:
                raise ValueError(f"{one.control} has other bins than the edges make")
            if sum(one.counts) != self.requests:
                raise ValueError(f"{one.control} counts {sum(one.counts)} requests of {self.requests}")
        return self

    @classmethod
    def of(
        cls, requests: Sequence[Sequence[ControlScore]], controls: Iterable[str], *, judge: str = ""
    ) -> Self:
        """
        Return the distribution of what controls said of requests.

        Args:
            requests: for each request, what the controls that were asked said of it.
            controls: names of the controls to count.
            judge: id and version of the judge of requests.
        """
        return cls(
            requests=len(requests),
            edges=SCORE_EDGES,
            controls=tuple(ControlCounts.of(name, requests, SCORE_EDGES) for name in controls),
            judge=judge,
        )
