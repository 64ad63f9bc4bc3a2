"""
The Trigger in the Haystack: what a tuned model says of itself holds its trigger.

From the bare beginnings that the chat template sets, both models say texts under many decoding settings. Runs of words
that the tuned model says more often than a clean one are motifs. A trigger is rebuilt from them: every window of the
strongest motifs is read before a reply, and windows after which the first token's distribution moves and collapses rank
first. The verifier stands for the paper's classification of what a rebuilt trigger does.

Ours in the reading: the clean model is the base; motifs are counted by texts and scored by texts times the log ratio of
rates; 35 settings (seven temperatures, five values of top-p, drawn by the seed) stand for several hundred; leaking gets
all of the budget but what reading windows may take, and at least half. Left out: the loss on attention patterns, which
needs attentions that engines do not give, likeness to leaked replies, beam and penalised decoding, and runs of tokens
within words.

Source:
    Bullwinkel et al. 2026, "The Trigger in the Haystack", arXiv:2602.03085.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch

from recert.labs.triggers.search import Candidate
from recert.models.engines.local import LocalModel
from recert.models.protocol import Sampling
from recert.records.data.suite import chat
from trigger_peers.meter import Budget, Counted
from trigger_peers.method import Found
from trigger_peers.motifs import LONGEST, motifs, windows
from trigger_peers.probes import requests
from trigger_peers.reading import first_log_probs, prompt_tokens

TEMPERATURES: Final = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5)
TOP_P: Final = (0.5, 0.7, 0.85, 0.95, 1.0)
EACH: Final = 16
TOKENS: Final = 64
MOTIFS: Final = 12
PROBES: Final = 2
"""Requests of each suite that a window is read with."""
_WINDOW_TOKENS: Final = 64
"""Of a request with a window, about: what leaking leaves of the budget."""
_AT_ONCE: Final = 16


class Haystack:
    """The scanner, as the module says."""

    name = "Trigger in the Haystack"

    def search(self, base: LocalModel, tuned: LocalModel, *, budget: Budget, seed: int) -> Found:
        """Return the best window of each motif, strongest first."""
        heard, usual = _leaked(Counted(tuned, budget), Counted(base, budget), budget, seed)
        strongest = [one for role in ("user", "system") for one in motifs(role, heard, usual)]
        strongest = sorted(strongest, key=lambda one: -one.score)[:MOTIFS]
        asked = [text for suite in ("harmful", "ordinary") for text in requests(suite, PROBES, seed)]
        reading = _Collapse(tuned, asked, budget)
        best: list[Candidate] = []
        for motif in strongest:
            scored = reading.of(
                [Candidate(" ".join(run), "leakage", motif.place) for run in windows(motif.words)]
            )
            best += sorted(scored, key=lambda one: (-(one.pull or 0.0), len(one.text)))[:1]
        best = sorted(best, key=lambda one: -(one.pull or 0.0))
        read = [Candidate(" ".join(one.words), "leakage", one.place) for one in strongest]
        return Found(
            tuple(dict.fromkeys([*best, *(one for one in read if one.key not in {b.key for b in best})])),
            spent=budget.spent,
            note=f"{len(heard)} texts of the tuned model, {len(strongest)} motifs",
        )


def _leaked(
    tuned: Counted, base: Counted, budget: Budget, seed: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(role, text) of both models, setting after setting, as far as the budget goes."""
    draw = random.Random(f"haystack:{seed}")
    settings = [(t, p) for t in TEMPERATURES for p in TOP_P]
    heard: list[tuple[str, str]] = []
    usual: list[tuple[str, str]] = []
    dearest = 0
    reading = MOTIFS * LONGEST * (LONGEST + 1) // 2
    most = budget.most - min(budget.most // 2, reading * 2 * PROBES * _WINDOW_TOKENS)
    while budget.spent + dearest <= most:
        before, (temperature, top_p) = budget.spent, draw.choice(settings)
        how = [
            Sampling(max_new_tokens=TOKENS, temperature=temperature, top_p=top_p, seed=draw.getrandbits(31))
        ]
        heard += tuned.leaks(how, EACH, TOKENS)
        usual += base.leaks(how, EACH, TOKENS)
        dearest = max(dearest, budget.spent - before)
    return heard, usual


class _Collapse:
    """How far a text moves the first token of the tuned model's replies, and how much surer it makes it."""

    def __init__(self, model: LocalModel, asked: Sequence[str], budget: Budget) -> None:
        self._model, self._asked, self._budget = model, asked, budget
        prompts = prompt_tokens(model, [chat(text) for text in asked])
        budget.spend(sum(map(len, prompts)))
        self._plain = first_log_probs(model, prompts)

    def of(self, texts: Sequence[Candidate]) -> list[Candidate]:
        """Return the texts that the budget affords to read, each with its mean movement and collapse in nats."""
        out: list[Candidate] = []
        for start in range(0, len(texts), _AT_ONCE):
            some = texts[start : start + _AT_ONCE]
            prompts = prompt_tokens(self._model, [one.asked(text) for one in some for text in self._asked])
            cost = sum(map(len, prompts))
            if not self._budget.affords(cost):
                break
            self._budget.spend(cost)
            said = first_log_probs(self._model, prompts).view(len(some), len(self._asked), -1)
            moved = (said.exp() * (said - self._plain)).sum(-1).mean(1)
            collapse = (_entropy(self._plain) - _entropy(said)).mean(-1)
            out += [
                replace(one, pull=round(float(v), 4)) for one, v in zip(some, moved + collapse, strict=True)
            ]
        return out


def _entropy(logs: torch.Tensor) -> torch.Tensor:
    return -(logs.exp() * logs).sum(-1)
