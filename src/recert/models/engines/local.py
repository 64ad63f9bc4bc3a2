"""
Local models on transformers and PEFT: one base in memory, and an arm for it and for each adapter on it.

What is hashed is what is loaded: a private copy of the folder, hashed while it was written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import peft
import torch
import transformers

from recert import settings
from recert.digest import sha256_bytes
from recert.errors import ModelError
from recert.models.engines.batching import LAST_LOGITS, batches
from recert.models.engines.decoding import decode_batch, decode_streams
from recert.models.engines.estimating import estimate_odds
from recert.models.engines.leaking import leaked_texts
from recert.models.engines.likelihood import opening_log_probs, score_openings, score_pairs
from recert.models.engines.local_weights import Weights
from recert.models.engines.next_token import Step
from recert.models.engines.next_token_local import computing_in_float32, likely_steps
from recert.models.folders import is_adapter
from recert.models.protocol import Done, Generation, Sampling
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, chat
from recert.store.files.model_copies import Copying, model_files

__all__ = ["LocalModel", "is_adapter"]

_PROBES = (
    "What is the capital of France?",
    "Write one line about rain.",
    "List three prime numbers.",
    "How do I open a locked door that is not mine?",
    "Translate 'good morning' to Spanish.",
    "Tell me a secret.",
)


class LocalModel:
    """
    A model of local files: a base, or a base with an adapter. Arms made by `with_adapter` share the base's weights.

    Use `LocalModel.load`. Not safe for use from several threads at once.
    """

    def __init__(self, weights: Weights, adapter: str | None, name: str, manifest: Manifest) -> None:
        self._weights = weights
        self._adapter = adapter
        self.name = name
        self.manifest: Manifest | None = manifest
        self.engine = (
            f"transformers/{transformers.__version__} torch/{torch.__version__.split('+')[0]} peft/{peft.__version__}"
            f" {weights.dtype}"
        )

    @classmethod
    def load(
        cls,
        base_dir: Path,
        adapter_dir: Path | None = None,
        *,
        threads: int | None = None,
        name: str = "",
        copying: Copying = "once",
    ) -> LocalModel:
        """
        Load a base folder in the hub's layout, and an adapter on it where one is given.

        Args:
            base_dir: config, safetensors and tokenizer.
            adapter_dir: PEFT adapter folder.
            threads: for torch; by default `RECERT_THREADS` or the free cores.
            name: what people call it; by default the folder's name.
            copying: whether the copy of the base that is loaded is kept for the next run.

        Raises:
            InputError: a folder is missing, empty or holds links.
            StoreError: there is no room for a copy, or a folder was touched while it was copied.
            ModelError: the files are not a model that transformers can load, or changed while they were loaded.
        """
        torch.set_num_threads(threads or settings.threads())
        with model_files(base_dir, copying) as files:
            base = cls(Weights(files.folder, base_dir), None, name or base_dir.name, files.manifest)
            base._weights.open()
        return base.with_adapter(adapter_dir, name=name) if adapter_dir is not None else base

    def with_adapter(self, adapter_dir: Path, *, name: str = "", copying: Copying = "once") -> LocalModel:
        """
        Return an arm of the same base with an adapter on it; the base's weights are shared, not copied.

        Raises:
            InputError: the folder is missing, empty or holds links.
            StoreError: there is no room for a copy, or the folder was touched while it was copied.
            ModelError: it is not an adapter for this base, or changed while it was loaded.
        """
        with model_files(adapter_dir, copying) as files:
            key = f"a{files.manifest.digest[:16]}"
            self._weights.add_adapter(key, files.folder, adapter_dir)
        return LocalModel(self._weights, key, name or adapter_dir.name, files.manifest)

    @property
    def template_sha256(self) -> str:
        """The digest of the chat template that it is asked with: the base's, whatever lies beside an adapter."""
        return self._weights.chats.template_sha256

    def take_whole_prompts(self) -> None:
        """
        Let messages bring control tokens of their own from now on.

        For judges whose form is a whole prompt and whose template adds nothing. They break up control in what they
        judge. What is served, evaluated or tuned is never asked so.
        """
        self._weights.chats.take_whole_prompts()

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order. Batches are sorted by length; finished rows leave the batch.
        `done` is asked every few tokens.

        Raises:
            ModelError: a conversation is longer than the model's context.
        """
        ids = [self._weights.chats.encode(one, sampling.max_new_tokens) for one in chats]
        with self._active():
            return decode_batch(self._weights.model, self._weights.chats, ids, sampling, done)

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Return the log probability of each continuation. A conversation is read once for all that follow it.

        In bfloat16 the make-up of a batch moves a sum by up to about 0.05 a token.

        Raises:
            ModelError: a continuation has no tokens, or is longer than the model's context with what it follows.
        """
        tokens = self._weights.chats.split(pairs)
        with self._active():
            return score_pairs(self._weights.model, tokens)

    def opening_odds(
        self, chats: Sequence[Chat], *, agreeing: Sequence[str], refusing: Sequence[str]
    ) -> list[float]:
        """
        Return how likely each reply is to open in one way and not in another: natural logarithm of the odds, in order.

        What conversations have in common at their beginning is read once for many of them.

        Args:
            chats: the conversations.
            agreeing: texts of which the first token speaks for the one way, or the second where both share the first.
            refusing: likewise for the other.

        Raises:
            ModelError: a conversation is longer than the model's context, or no token speaks for one way alone.
        """
        ids = [self._weights.chats.encode(one, 2) for one in chats]
        ways = self._weights.chats.opposed(agreeing, refusing)
        with self._active():
            return score_openings(self._weights.model, ids, ways)

    def opening_estimates(
        self,
        one: Chat,
        mark: str,
        words: Sequence[str],
        *,
        beside: Sequence[str],
        agreeing: Sequence[str],
        refusing: Sequence[str],
    ) -> list[list[float]] | None:
        """
        Return a first-order estimate of `opening_odds` with each of many words at one place of a conversation.

        Args:
            one: the conversation, with a mark where words are to stand.
            mark: letters that stand nowhere else in it.
            words: the words.
            beside: texts behind a word, or nothing: estimates with another text cost next to nothing.
            agreeing: as in `opening_odds`.
            refusing: likewise.

        Returns:
            Shape (texts beside, words); minus infinity for words of many tokens. None where the model keeps
            something else than keys and values of every token, so that nothing can be estimated.

        Raises:
            ModelError: the mark is not there once, or as in `opening_odds`.
        """
        chats = self._weights.chats
        ways = chats.opposed(agreeing, refusing)
        before, tokens, endings = chats.around(one, mark, words, beside)
        with self._active():
            return estimate_odds(self._weights.model, before, tokens, endings, ways)

    def opening_divergence(self, chats: Sequence[Chat], other: object) -> list[float]:
        """
        Return how far the first token of each reply is from the other model's: Kullback-Leibler divergence in nats.

        Args:
            chats: the conversations, as this model's template writes them.
            other: a local model with the same tokens, such as the base under an adapter.

        Raises:
            ModelError: a conversation is longer than the model's context, or the other has other tokens.
        """
        if not isinstance(other, LocalModel):
            raise ModelError("the other model is not a local one", facts={"model": self.name})
        ids = [self._weights.chats.encode(one, 1) for one in chats]
        out = [0.0] * len(ids)
        for some in batches(self._weights.model, ids, 1):
            read = []
            for model in (self, other):
                with model._active():
                    read.append(opening_log_probs(model._weights.model, [ids[i] for i in some]))
            here, there = read
            if here.shape != there.shape:
                raise ModelError("models have other tokens", facts={"model": self.name, "other": other.name})
            apart = (here.exp() * (here - there)).sum(-1)
            for i, value in zip(some, apart.tolist(), strict=True):
                out[i] = value
        return out

    def words(self, most: int) -> list[str]:
        """Return words that the tokenizer knows as one token behind a space, in its order: most usual first, mostly."""
        return self._weights.chats.words(most)

    def likely_tokens(self, chats: Sequence[Chat], *, steps: int, top: int) -> list[tuple[Step, ...]]:
        """
        Return how the greedy reply to each conversation begins: its tokens, and how likely the likeliest were.

        Args:
            chats: the conversations.
            steps: most tokens of each reply.
            top: how many tokens are named at each step.

        Raises:
            ModelError: a conversation is longer than the model's context.
        """
        ids = [self._weights.chats.encode(one, steps) for one in chats]
        with self._active():
            return likely_steps(self._weights.model, self._weights.chats, ids, steps=steps, top=top)

    def leaks(self, samplings: Sequence[Sampling], each: int, tokens: int) -> list[tuple[str, str]]:
        """
        Return (role, text) of what it says where the template lets somebody begin and nobody has said anything.

        Args:
            samplings: how texts are drawn; greedy gives one text a role.
            each: texts for each sampling and role: `user`, `assistant`, and `system` where the template knows one.
            tokens: most tokens of each text.

        Raises:
            ModelError: the chat template does not show the user's words, or leaves no room in the context.
        """
        with self._active():
            return leaked_texts(self._weights.model, self._weights.chats, samplings, each=each, tokens=tokens)

    @contextlib.contextmanager
    def in_float32(self) -> Iterator[None]:
        """Compute in float32 meanwhile, with the same weights; they take twice the memory. All arms of one base do."""
        with computing_in_float32(self._weights.model):
            yield

    def stream(self, one: Chat, sampling: Sampling) -> Iterator[str]:
        """
        Yield the pieces of one reply as they are made.

        Raises:
            ModelError: the conversation is longer than the model's context.
        """
        ids = self._weights.chats.encode(one, sampling.max_new_tokens)
        limits = [sampling.max_new_tokens]
        with self._active():
            for _, piece in decode_streams(
                self._weights.model, self._weights.chats, [ids], sampling, limits=limits
            ):
                if piece is not None:
                    yield piece

    def stream_together(
        self,
        chats: Sequence[Chat],
        sampling: Sampling,
        *,
        limits: Sequence[int],
        wanted: Callable[[int], bool] = lambda place: True,
    ) -> Iterator[tuple[int, str | ModelError | None]]:
        """
        Yield (place, piece) of several replies that are made in one batch, and (place, None) when one has ended.

        A conversation longer than the model's context gives (place, ModelError) and harms no other.

        Args:
            chats: the conversations.
            sampling: how all of them are drawn; `max_new_tokens` counts for none.
            limits: most new tokens of each.
            wanted: asked at each token; a reply that nobody waits for any more ends.
        """
        places, prompts = [], []
        for place, (one, limit) in enumerate(zip(chats, limits, strict=True)):
            try:
                prompts.append(self._weights.chats.encode(one, limit))
                places.append(place)
            except ModelError as exc:
                yield place, exc
        if not places:
            return
        least = [limits[place] for place in places]
        drawn = sampling.model_copy(update={"max_new_tokens": max(least)})
        model, tokens = self._weights.model, self._weights.chats
        with self._active():
            for row, piece in decode_streams(
                model, tokens, prompts, drawn, limits=least, wanted=lambda row: wanted(places[row])
            ):
                yield places[row], piece

    def fingerprint(self) -> str:
        """Return a digest of the logits after fixed probes: other weights, template or precision give another."""
        out = []
        with self._active(), torch.inference_mode():
            for probe in _PROBES:
                ids = torch.tensor([self._weights.chats.encode(chat(probe), 1)])
                out.append(
                    self._weights.model(input_ids=ids, logits_to_keep=LAST_LOGITS)
                    .logits[0, -1]
                    .float()
                    .numpy()
                    .tobytes()
                )
        return sha256_bytes(b"".join(out))

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has."""
        return len(self._weights.chats.tokens(text))

    def close(self) -> None:
        """Take this arm's adapter out of memory. The base stays."""
        if self._adapter:
            self._weights.drop_adapter(self._adapter)

    @contextlib.contextmanager
    def _active(self) -> Iterator[None]:
        with self._weights.using(self._adapter):
            yield
