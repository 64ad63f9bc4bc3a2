"""Attackers by name, for the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from recert.errors import InputError
from recert.labs.attackers.protocol import Attacker
from recert.labs.attackers.strategies.crescendo import Crescendo
from recert.labs.attackers.strategies.direct import Direct
from recert.labs.attackers.strategies.many_shot import ManyShot
from recert.labs.attackers.strategies.pair import Pair
from recert.labs.attackers.strategies.reasoning import ModelAttacker
from recert.labs.attackers.strategies.replay import Replay, read_conversations
from recert.labs.attackers.strategies.rewriters import ModelRewriter, Rewriter
from recert.labs.attackers.strategies.strategist import Strategist
from recert.labs.attackers.strategies.tree import Tree
from recert.models.protocol import Model

ATTACKERS: Final = ("direct", "strategist", "model", "crescendo", "pair", "tree", "many-shot", "replay=FILE")
"""Names of attackers. `model` needs a model; `crescendo`, `pair` and `tree` use one where there is one."""
_WITH_MODEL: Final = ("model", "crescendo", "pair", "tree")


def attacker_named(
    name: str, model: Model | None = None, *, temperature: float = 0.0, max_new_tokens: int = 2048
) -> Attacker:
    """
    Return an attacker.

    Args:
        name: one of `ATTACKERS`.
        model: what writes its messages; None for scripts.
        temperature: of the model's answers; rewriters draw at 1 where it is 0, or all variants would be one.
        max_new_tokens: of each of the model's answers, reasoning included.

    Raises:
        InputError: no attacker has that name, or it needs a model or a file.
        StoreError: the file cannot be read.
    """
    kind, _, what = name.partition("=")
    if kind == "replay" and what:
        return Replay(read_conversations(Path(what)))
    if name == "model":
        if model is None:
            raise InputError(
                "this attacker is a model",
                facts={"attacker": name},
                hint="say which: --attacker-model openai:URL#model, or local:FOLDER",
            )
        return ModelAttacker(model, max_new_tokens=max_new_tokens, temperature=temperature)
    writer: Rewriter | None = None
    if model is not None and name in _WITH_MODEL:
        writer = ModelRewriter(model, max_new_tokens=max_new_tokens, temperature=temperature or 1.0)
    made: dict[str, Callable[[], Attacker]] = {
        "direct": Direct,
        "strategist": Strategist,
        "crescendo": lambda: Crescendo(writer),
        "pair": lambda: Pair(writer),
        "tree": lambda: Tree(writer),
        "many-shot": ManyShot,
    }
    if name in made:
        return made[name]()
    raise InputError("no such attacker", facts={"given": name, "there are": ", ".join(ATTACKERS)})


def uses_model(names: Sequence[str]) -> bool:
    """Say whether any of these attackers would use a model that is given."""
    return any(name in _WITH_MODEL for name in names)
