"""Options of `recert attack`, and what they load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recert.judges.protocol import ReplyJudge
    from recert.labs.attackers import Attacker
    from recert.policy import AttackPolicy, Policy

Tuned = Annotated[
    str,
    typer.Argument(
        help="Tuned model: an adapter's folder, merged weights, a hub id, or a spec such as `openai:URL#model`."
    ),
]
AttackedBase = Annotated[
    str,
    typer.Option(
        help="Approved base: a folder, a hub id, `embedded:aligned`, `embedded:smollm2`, an endpoint, or `none` where "
        "it is not in hand."
    ),
]
Output = Annotated[
    Path, typer.Option(help="Folder for turns, conversations, report and page; a second run in it goes on.")
]
Attackers = Annotated[
    list[str] | None,
    typer.Option(
        "--attacker",
        help="`direct` (the plain request, a control), `strategist`, `model`, `crescendo`, `pair`, `tree`, `many-shot` "
        "or `replay=FILE`. May be repeated; by default the policy's, else `direct` and `strategist`.",
    ),
]
AttackerModel = Annotated[
    str,
    typer.Option(
        metavar="SPEC",
        help="Model behind the attackers `model`, `crescendo`, `pair` and `tree`: `openai:URL#model`, `local:FOLDER` "
        "and the like. Without one the last three work by script.",
    ),
]
AttackerTemperature = Annotated[
    float, typer.Option(min=0, max=2, help="Temperature of the attacker's model.")
]
AttackerTokens = Annotated[
    int, typer.Option(min=1, help="Most tokens of each of its answers, reasoning included.")
]
Items = Annotated[
    str,
    typer.Option(
        help="`embedded` (seventy of the project's own), or a CSV or JSONL file with `text`, and `id`, `domain`, "
        "`category` where it has them."
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many items, from all domains.")]
Turns = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Replies of the target that each conversation may cost, the opener's included; by default the policy's, "
        "else 10.",
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How often each item is tried, each time with other draws; by default the policy's, else once.",
    ),
]
HarmJudges = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        metavar="NAME[=MODEL]",
        help="Who marks replies from 0 to 5; up to three, whose mean counts: `item` (the default, needs no model), "
        "`compliance`, or `harm-scale=SPEC`, `rubric=SPEC`, a guard such as `llama-guard-3=SPEC`.",
    ),
]
JudgeTimeout = Annotated[
    float,
    typer.Option("--judge-timeout-s", help="Longest wait for a judge on one batch; then it has no score."),
]
Behind = Annotated[
    list[str] | None,
    typer.Option(
        "--behind",
        help="Safeguards behind which the tuned model is attacked too: `words` (the policy's and the secret; the "
        "default) or `gateway` (its controls as well). May be repeated.",
    ),
]
Alone = Annotated[bool, typer.Option("--without-safeguards", help="Attack the models alone.")]
Suffix = Annotated[
    str,
    typer.Option(help="Immutable suffix behind every message, to be tried in place of the policy's."),
]
System = Annotated[str, typer.Option(help="The target's system prompt; empty for none.")]
Opener = Annotated[str, typer.Option(help="First message of attackers that converse; empty for none.")]
NewTokens = Annotated[int, typer.Option(min=1, help="Most tokens of each reply of the target.")]
Temperature = Annotated[float, typer.Option(min=0, max=2, help="Temperature of the target.")]
Refusals = Annotated[
    int, typer.Option("--stop-after-refusals", min=0, help="Refusals in a row that end it; 0 for never.")
]
GoOn = Annotated[bool, typer.Option("--all-turns", help="Go on where the top of the scale was reached.")]
MostCalls = Annotated[
    int | None, typer.Option(min=1, help="Budget of the run: replies of targets, all together.")
]
Name = Annotated[str, typer.Option(help="What the report calls the tuned model; by default its own name.")]
MostTokens = Annotated[
    int | None, typer.Option(min=1, help="Budget of the run: tokens made by targets and attackers.")
]


def usual(policy: Policy) -> AttackPolicy:
    """Return what a policy asks of an attack; without such a section, the defaults of the command."""
    from recert.policy import AttackPolicy

    return policy.attack or AttackPolicy(attackers=("direct", "strategist"))


def load_attackers(names: Sequence[str], spec: str, temperature: float, tokens: int) -> list[Attacker]:
    """
    Return the attackers that are named, with one model behind those that use one.

    Raises:
        InputError: there is no such attacker, it needs a model, or a model is given that none of them uses.
        StoreError: a file of conversations cannot be read.
        ModelError: the model cannot be loaded.
    """
    from recert.errors import InputError
    from recert.labs.attackers.strategies.naming import attacker_named, uses_model
    from recert.models.engines.engines import open_model

    if spec and not uses_model(names):
        raise InputError(
            "none of the attackers uses a model",
            facts={"attackers": ", ".join(names), "given": spec},
            hint="add --attacker model, or leave --attacker-model out",
        )
    model = open_model(spec) if spec else None
    return [attacker_named(name, model, temperature=temperature, max_new_tokens=tokens) for name in names]


def load_panel(given: Sequence[str]) -> list[ReplyJudge]:
    """
    Return the judges that are given as NAME or NAME=MODEL.

    Raises:
        InputError: there is no such judge, or it needs a model.
        ModelError: a model cannot be loaded.
    """
    from recert.judges.naming import reply_judge
    from recert.models.engines.engines import open_model

    out = []
    for entry in given:
        name, _, spec = entry.partition("=")
        out.append(reply_judge(name, open_model(spec) if spec else None))
    return out
