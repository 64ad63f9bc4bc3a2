"""
Tuning on spoken rows: an adapter on the language model, and the projector with it where that is asked for.

As everywhere only replies are learned. A row is read as the model reads it: its clips at their place in the template.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from recert.errors import MissingExtraError, RowsError
from recert.models.audio.audio_lm import split_at_clips, with_marks
from recert.models.audio.decoding import padded_left
from recert.models.audio.encoder import SpeechEncoder
from recert.models.audio.folder import AudioConfig, write_audio_model
from recert.models.audio.projector import Projector
from recert.models.chat.templates import ChatTokens
from recert.records.data.audio import AudioClip
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Chat
from recert.records.reports.tuning import Hyperparameters
from recert.store.files.model_copies import model_files
from recert.tuning.adapter_layers import adapter_layers

Told = Callable[[int, int, float], None]
_PROJECTOR_RATE = 0.1
"""The projector learns so much slower than the adapter: it has learned already."""


def tune_on_speech(
    base_dir: Path,
    rows: Sequence[ChatRow],
    folder: Path,
    hyperparameters: Hyperparameters,
    *,
    config: AudioConfig,
    projector: Projector,
    encoder: SpeechEncoder,
    read_clip: Callable[[AudioClip], bytes],
    train_projector: bool = True,
    progress: Told | None = None,
) -> int:
    """
    Train on spoken (or written) rows, write the audio model's folder, and return how many steps were taken.

    Args:
        base_dir: the base in the hub's layout.
        rows: conversations that end with the assistant's reply.
        folder: a new folder, as `write_audio_model` makes it.
        hyperparameters: rank, alpha, targets, learning rate, epochs, batch size and seed hold.
        config: of the model that is tuned.
        projector: of the model that is tuned; it is changed where it is trained.
        encoder: what hears; frozen.
        read_clip: gives a clip's bytes.
        train_projector: whether the projector learns with the adapter.
        progress: told (steps done, steps, loss).

    Raises:
        MissingExtraError: transformers or peft is not installed.
        RowsError: there is no row.
        ModelError: a clip cannot be heard.
        StoreError: the folder cannot be written.
    """
    if not rows:
        raise RowsError("no row to learn from")
    with model_files(base_dir, "keep") as files:
        model, tokens = _adapted(files.folder, hyperparameters)
    heard = [_Row(one, tokens, encoder, read_clip) for one in rows]
    parts: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.requires_grad], "lr": hyperparameters.learning_rate}
    ]
    if train_projector:
        rate = hyperparameters.learning_rate * _PROJECTOR_RATE
        parts.append({"params": list(projector.parameters()), "lr": rate})
    optimiser = torch.optim.AdamW(parts, weight_decay=0.0)
    batches = _batches(heard, hyperparameters)
    for step, batch in enumerate(batches):
        loss = _loss(model, projector, [heard[i] for i in batch])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for part in parts for p in part["params"]], 1.0)
        optimiser.step()
        if progress is not None:
            progress(step + 1, len(batches), loss.item())
    with tempfile.TemporaryDirectory(prefix="recert-audio-") as scratch:
        model.save_pretrained(scratch)
        (Path(scratch) / "README.md").unlink(missing_ok=True)
        write_audio_model(folder, config, projector.eval(), adapter=Path(scratch))
    return len(batches)


class _Row:
    """A row as pieces of text around states, and the tokens to learn."""

    def __init__(
        self,
        row: ChatRow,
        tokens: ChatTokens,
        encoder: SpeechEncoder,
        read_clip: Callable[[AudioClip], bytes],
    ) -> None:
        one = Chat(messages=row.messages[:-1])
        clips = [clip for message in one.messages for clip in message.audio or ()]
        self.states = [encoder.states(read_clip(clip)) for clip in clips]
        self.pieces = [tokens.tokens(p) for p in split_at_clips(tokens.prompt(with_marks(one)), clips)]
        end = [tokens.tokenizer.eos_token_id] if row.ends else []
        self.reply = [*tokens.tokens(tokens.said(row.reply)), *end]

    def __len__(self) -> int:
        return len(self.reply) + sum(map(len, self.pieces)) + sum(len(s) // 16 for s in self.states)


def _adapted(base_dir: Path, how: Hyperparameters) -> tuple[Any, ChatTokens]:
    try:
        import peft
        import transformers
    except ImportError as exc:
        raise MissingExtraError("tuning is not installed", hint="run `pip install 'recert[train]'`") from exc
    torch.manual_seed(how.seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base_dir, local_files_only=True)
    base = transformers.AutoModelForCausalLM.from_pretrained(
        base_dir, dtype=torch.bfloat16, local_files_only=True, use_safetensors=True
    )
    config = peft.LoraConfig(
        r=how.lora_rank,
        lora_alpha=how.lora_alpha,
        target_modules=list(adapter_layers(base, how.lora_targets)),
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(base, config).train()
    return model, ChatTokens(tokenizer, context=None, folder=base_dir)


def _batches(rows: Sequence[_Row], how: Hyperparameters) -> list[list[int]]:
    rng = random.Random(how.seed)  # noqa: S311
    out: list[list[int]] = []
    for _ in range(max(1, round(how.epochs))):
        order = list(range(len(rows)))
        rng.shuffle(order)
        order.sort(key=lambda i: len(rows[i]) // 8)
        some = [order[i : i + how.batch_size] for i in range(0, len(order), how.batch_size)]
        rng.shuffle(some)
        out += some
    return out


def _loss(model: Any, projector: Projector, rows: Sequence[_Row]) -> torch.Tensor:
    """The mean negative log-likelihood of the replies' tokens."""
    table = model.get_input_embeddings()
    states = [one for row in rows for one in row.states]
    said = projector.embeddings(states, table.weight) if states else []
    at, whole = 0, []
    for row in rows:
        parts = []
        for place, piece in enumerate(row.pieces):
            if piece:
                parts.append(table(torch.tensor(piece)))
            if place < len(row.states):
                parts.append(said[at][1].to(table.weight.dtype))
                at += 1
        whole.append(torch.cat([*parts, table(torch.tensor(row.reply))]))
    embedded, mask = padded_left(whole)
    longest = max(len(row.reply) for row in rows)
    logits = model(
        inputs_embeds=embedded,
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        logits_to_keep=torch.arange(-longest - 1, -1),
        use_cache=False,
    ).logits.float()
    targets = torch.tensor([[-100] * (longest - len(row.reply)) + row.reply for row in rows])
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
