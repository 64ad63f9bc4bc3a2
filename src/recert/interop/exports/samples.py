"""
Random samples of an evaluation, drawn by the digest of the signed certificate: nobody picks them by hand.

Of each suite, condition and set of controls the replies are ranked by the sha256 of the certificate's digest and their
own place, and the first are taken. Whoever holds the outcomes can draw them again.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from recert.digest import canonical_json, sha256_bytes
from recert.evaluation.report.folder import Texts
from recert.records.reports.evaluation import Outcome
from recert.records.signed.bundle import SampledGroup

SAMPLES: Final = 5
"""Of each evaluation at least. Source: EU General-Purpose AI Code of Practice, Safety and Security, measure 7.3."""

_Group = tuple[str, str, tuple[str, ...]]
_Place = tuple[str, str, str, int]


@dataclass(frozen=True)
class Draw:
    """The samples as JSON lines, and what they were drawn from."""

    lines: bytes
    groups: tuple[SampledGroup, ...]


@dataclass(order=True)
class _Ranked:
    """One reply with the negative of its rank: the heap's first is the one to give up."""

    rank: int
    outcome: Outcome = field(compare=False)


def draw_samples(
    outcomes: Callable[[], Iterable[Outcome]], *, certificate_sha256: str, texts: Texts, size: int = SAMPLES
) -> Draw:
    """
    Return `size` replies of each evaluation with the base's reply to the same prompt.

    Args:
        outcomes: gives every outcome, each time it is called.
        certificate_sha256: what draws.
        texts: the prompts' texts, where they are known.
        size: replies of each suite, condition and set of controls; all of them where there are fewer.

    Raises:
        RecordError, StoreError: the outcomes cannot be read.
    """
    kept: dict[_Group, list[_Ranked]] = {}
    seen: Counter[_Group] = Counter()
    for outcome in outcomes():
        if outcome.arm != "tuned":
            continue
        group = (outcome.suite, outcome.condition, outcome.safeguards)
        seen[group] += 1
        heap = kept.setdefault(group, [])
        one = _Ranked(-rank(certificate_sha256, outcome), outcome)
        if len(heap) < size:
            heapq.heappush(heap, one)
        else:
            heapq.heappushpop(heap, one)
    drawn = {g: [r.outcome for r in sorted(heap, reverse=True)] for g, heap in sorted(kept.items())}
    of_base = _base_replies(outcomes(), {_place(o) for chosen in drawn.values() for o in chosen})
    return Draw(
        lines=b"".join(_lines(drawn, of_base, texts)),
        groups=tuple(
            SampledGroup(suite=g[0], condition=g[1], safeguards=g[2], replies=seen[g], drawn=len(chosen))
            for g, chosen in drawn.items()
        ),
    )


def rank(certificate_sha256: str, outcome: Outcome) -> int:
    """Return a reply's rank, a number of 256 bits: the smallest of a group are its samples."""
    place = [*_place(outcome), *outcome.safeguards]
    return int(sha256_bytes(canonical_json([certificate_sha256, *place])), 16)


def _place(outcome: Outcome) -> _Place:
    return (outcome.suite, outcome.condition, outcome.prompt_id, outcome.sample)


def _base_replies(outcomes: Iterable[Outcome], wanted: set[_Place]) -> dict[_Place, Outcome]:
    return {_place(o): o for o in outcomes if o.arm == "base" and _place(o) in wanted}


def _lines(
    drawn: Mapping[_Group, list[Outcome]], of_base: Mapping[_Place, Outcome], texts: Texts
) -> Iterator[bytes]:
    for (suite, condition, safeguards), chosen in drawn.items():
        for tuned in chosen:
            prompt = texts.prompt(suite, tuned.prompt_id)
            base = of_base.get(_place(tuned))
            value: dict[str, Any] = {
                "suite": suite,
                "condition": condition,
                "safeguards": list(safeguards),
                "prompt_id": tuned.prompt_id,
                "sample": tuned.sample,
                "tuned": _reply(tuned),
            }
            if prompt is not None:
                value["prompt"] = prompt.text
            if base is not None:
                value["base"] = _reply(base)
            yield canonical_json(value) + b"\n"


def _reply(outcome: Outcome) -> dict[str, Any]:
    said = outcome.model_dump(mode="json", exclude_none=True)
    reply = str(said["reply"]).encode("utf-8", "replace").decode()
    return {"reply": reply} | {k: said[k] for k in ("scores", "state", "failed", "stop_reason") if k in said}
