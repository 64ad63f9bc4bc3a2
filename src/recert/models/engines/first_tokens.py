"""
How a reply opens: tokens that speak for one way or for the other, and what follows where both begin with the same one.

Where "Sure" and "Sorry" are two tokens each and both begin with "S", that token says nothing, and the next says all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ways:
    """
    Tokens that tell two ways to open a reply apart.

    Attributes:
        yes: first tokens of the one way alone.
        no: first tokens of the other.
        shared: a first token of both, after which the second tells; None where there is none.
        then_yes: second tokens of the one way alone.
        then_no: second tokens of the other.
    """

    yes: tuple[int, ...]
    no: tuple[int, ...]
    shared: int | None = None
    then_yes: tuple[int, ...] = ()
    then_no: tuple[int, ...] = ()

    def odds(self, first: torch.Tensor, second: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return the log odds of the one way against the other.

        Args:
            first: logits of the first token, of shape (rows, tokens).
            second: likewise of the second behind the shared one; needed where there is one.
        """
        if self.shared is None or second is None:
            return _of(first.float(), self.yes) - _of(first.float(), self.no)
        logs, then = first.float().log_softmax(-1), second.float().log_softmax(-1)
        begun = logs[:, self.shared]
        yes = torch.logaddexp(_of(logs, self.yes), begun + _of(then, self.then_yes))
        no = torch.logaddexp(_of(logs, self.no), begun + _of(then, self.then_no))
        return yes - no


def ways_of(agreeing: Sequence[Sequence[int]], refusing: Sequence[Sequence[int]]) -> Ways | None:
    """
    Return the tokens that tell texts of two kinds apart; None where nothing speaks for the first kind alone.

    Of the first tokens that both kinds have, the one that most of the first kind have is looked behind, if a second
    token is of that kind alone. The others count for the second kind: what may be a refusal is none of what agrees.

    Args:
        agreeing: the tokens of texts of the one kind, none empty.
        refusing: likewise of the other.
    """
    yes, no = ({text[0] for text in texts} for texts in (agreeing, refusing))
    shared, then_yes, then_no = None, set[int](), set[int]()
    for token, _ in Counter(text[0] for text in agreeing if text[0] in no and len(text) > 1).most_common():
        then_no = {text[1] for text in refusing if text[0] == token and len(text) > 1}
        then_yes = {text[1] for text in agreeing if text[0] == token and len(text) > 1} - then_no
        if then_yes and then_no:
            shared = token
            break
    told = no if shared is None else no - {shared}
    if not no or not (yes - no or shared is not None):
        return None
    if shared is None:
        then_yes = then_no = set()
    return Ways(
        tuple(sorted(yes - no)), tuple(sorted(told)), shared, tuple(sorted(then_yes)), tuple(sorted(then_no))
    )


def _of(logs: torch.Tensor, tokens: Sequence[int]) -> torch.Tensor:
    """The logarithm of what some tokens have together; minus infinity of none."""
    return logs[:, list(tokens)].logsumexp(-1)
