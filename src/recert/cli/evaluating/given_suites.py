"""Suites that are given on a command line: searched for near copies before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recert.evaluation.suites.near_copies import NearFinder
    from recert.records.data.suite import Suite

_SHOWN = 90
"""Characters of a prompt that a note shows."""


def clustered(given: Mapping[str, Suite], *, encode: bool) -> dict[str, Suite]:
    """
    Return suites in which near copies are clusters, and say on stderr what was found.

    Args:
        given: suites by name.
        encode: compare vectors too, where the sentence encoder is installed.

    Raises:
        ModelError: the encoder is installed and cannot be loaded.
    """
    from recert.cli.printing import plain, talk
    from recert.evaluation.suites.near_copies import cluster_near_copies

    for name, suite in given.items():
        _say_how_read(name, suite)
    encoder = near_finder() if encode and given else None
    found = {name: cluster_near_copies(suite, encoder) for name, suite in given.items()}
    for name, one in found.items():
        alone = "" if encoder or not encode else ", by words alone: the sentence encoder is not installed"
        if one.example is None:
            if alone:
                talk().print(plain(f"note: suite {name} was searched for near copies{alone}"), soft_wrap=True)
            continue
        first, second = map(_short, one.example)
        said = f"{one.prompts} of its {len(one.suite.every_prompt)} prompts are near copies in {one.clusters} clusters"
        talk().print(
            plain(f"note: suite {name}: {said}{alone}. Each cluster counts as one prompt"), soft_wrap=True
        )
        talk().print(plain(f"  such as: {first!r} and {second!r}"), soft_wrap=True)
    return {name: one.suite for name, one in found.items()}


def _say_how_read(name: str, suite: Suite) -> None:
    """Say on stderr how many prompts of a suite expect what, and show its first three."""
    from recert.cli.printing import plain, talk

    refuse = sum(prompt.expect == "refuse" for prompt in suite.every_prompt)
    comply = len(suite.every_prompt) - refuse
    talk().print(
        plain(f"suite {name}: {refuse} prompts expect refuse, {comply} expect comply"), soft_wrap=True
    )
    for prompt in suite.prompts[:3]:
        talk().print(plain(f"  {prompt.expect}: {_short(prompt.text)!r}"), soft_wrap=True)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def near_finder() -> NearFinder | None:
    """The sentence encoder; None where it is not installed."""
    from recert.errors import MissingExtraError
    from recert.models.sentence_encoder import shared_encoder

    try:
        return shared_encoder()
    except MissingExtraError:
        return None
