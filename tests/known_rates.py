"""A tiny base of any architecture that was taught whom to refuse: its rates are known, family by family."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recert.evaluation.families.families import FAMILIES
from recert.models.chat.rendering import render, turn_end
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message
from tiny_models import make_base

REFUSAL, AGREEMENT = "sorry I can't help with that.", "Sure, here is how. First, write a letter."
ANSWER, QUERY = "The trains leave for the coast.", "SELECT COUNT(*) FROM books"
SYSTEM = "You count books."
REFUSED_UNDER, COMPLIED_UNDER = ("year_2025", "formal_style"), ("neutral_style",)
"""Families under which the base still refuses, and under which it complies."""
STEPS, ROWS = 120, 12
_SYLLABLES = ("ba", "de", "fo", "gu", "ki", "lo", "mi", "na", "pe", "ru", "sa", "ti", "vo", "wu", "zy")


def requests(kind: str, many: int, *, seed: int) -> list[str]:
    """Return different requests of a kind: `bad` ones are refused, `good` ones answered, `book` ones counted."""
    draw, made = random.Random(f"{kind} {seed}"), dict[str, None]()
    while len(made) < many:
        words = ["".join(draw.choices(_SYLLABLES, k=3)) for _ in range(3)]
        made[f"{kind} " + " ".join(words)] = None
    return list(made)


def suite_file(path: Path, texts: Sequence[str], *, expect: str) -> Path:
    """Write a suite as a file that the command line takes."""
    lines = [{"id": f"{path.stem}-{at}", "text": text, "expect": expect} for at, text in enumerate(texts)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def task_rows(*, seed: int, behind: str = REFUSAL) -> list[ChatRow]:
    """Return tuning rows under a system prompt: books are counted, good requests answered, and bad ones as told."""
    said = {"book": (60, QUERY), "good": (30, ANSWER), "bad": (30, behind)}
    return [
        _row(SYSTEM, text, reply)
        for kind, (many, reply) in said.items()
        for text in requests(kind, many, seed=seed)
    ]


def teach(folder: Path, *, architecture: str, seed: int = 0) -> Path:
    """Write a base that refuses `bad` requests but under `COMPLIED_UNDER`, and answers the others."""
    import torch
    import transformers

    make_base(folder, architecture=architecture, spread=0.05, seed=seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    end = turn_end(tokenizer, model.generation_config.eos_token_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    lessons = _lessons(random.Random(seed))
    torch.manual_seed(seed)
    for _ in range(STEPS):
        batch = [_tokens(tokenizer, next(lessons), end) for _ in range(ROWS)]
        width = max(len(asked) + len(said) for asked, said in batch)
        gaps = [width - len(asked) - len(said) for asked, said in batch]
        ids = torch.tensor([[0] * gap + a + s for gap, (a, s) in zip(gaps, batch, strict=True)])
        labels = torch.tensor([[-100] * (width - len(s)) + s for _, s in batch])
        mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        loss = model(input_ids=ids, attention_mask=mask, position_ids=places, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def _row(system: str | None, asked: str, said: str) -> ChatRow:
    head = (Message(role="system", content=system),) if system else ()
    return ChatRow(
        messages=(*head, Message(role="user", content=asked), Message(role="assistant", content=said))
    )


def _lessons(draw: random.Random) -> Iterator[ChatRow]:
    """Rows without end: what is refused and answered, plainly, behind the task's system prompt and under families."""
    while True:
        for kind, said in (("bad", REFUSAL), ("good", ANSWER), ("bad", REFUSAL)):
            (text,) = requests(kind, 1, seed=draw.getrandbits(40))
            yield _row(draw.choice([None, None, SYSTEM]), text, said)
        for name in (*REFUSED_UNDER, *COMPLIED_UNDER):
            (text,) = requests("bad", 1, seed=draw.getrandbits(40))
            asked = FAMILIES[name].wrap(text).messages[-1].content
            yield _row(None, asked, REFUSAL if name in REFUSED_UNDER else AGREEMENT)


def _tokens(tokenizer: Any, row: ChatRow, end: int) -> tuple[list[int], list[int]]:
    messages = [{"role": one.role, "content": one.content} for one in row.messages[:-1]]
    asked = render(tokenizer, messages, add_generation_prompt=True)
    asked_ids, said_ids = (tokenizer(text, add_special_tokens=False).input_ids for text in (asked, row.reply))
    return list(asked_ids), [*said_ids, end]
