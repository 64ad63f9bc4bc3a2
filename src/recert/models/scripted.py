"""A model whose replies are given: for tests, examples and trying a policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from recert.digest import sha256_bytes, sha256_json
from recert.errors import ModelError
from recert.models.protocol import Done, Generation, Sampling
from recert.records.data.manifest import FileEntry, Manifest
from recert.records.data.suite import Chat


class ScriptedModel:
    """
    Answers from a function or a table from the last message's text to a reply.

    Args:
        replies: a function from the conversation to the reply, or a table; a text that is not in the
            table gets `default`.
        name: its name; also what its manifest is made from, so two names are two systems.
        log_prob: gives the log probability of a continuation; by default every word of the scripted
            reply has one half, and every other word a hundredth.
    """

    def __init__(
        self,
        replies: Callable[[Chat], str] | Mapping[str, str],
        *,
        name: str = "scripted",
        default: str = "Here is an answer.",
        log_prob: Callable[[Chat, str], float] | None = None,
    ) -> None:
        self._replies = replies
        self._default = default
        self._log_prob = log_prob or self._by_words
        self.name = name
        self.engine = "scripted/1"
        digest = sha256_bytes(name.encode())
        self.manifest: Manifest | None = Manifest(
            files=(FileEntry(name="model.safetensors", size_bytes=len(name), sha256=digest),)
        )
        self.asked: list[Chat] = []

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """Return the scripted reply of each conversation, cut to `max_new_tokens` words, or where it is `done`."""
        self.asked += chats
        out = []
        for place, one in enumerate(chats):
            words = self._reply(one).split(" ")
            made, reason = len(words), "stop"
            if made > sampling.max_new_tokens:
                made, reason = sampling.max_new_tokens, "length"
            for n in range(1, made) if done is not None else ():
                if done is not None and done(place, " ".join(words[:n])):
                    made, reason = n, "decided"
                    break
            out.append(Generation(text=" ".join(words[:made]), stop_reason=reason, tokens=made))
        return out

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Return how likely each continuation is, as the script says.

        Raises:
            ModelError: a continuation is empty.
        """
        if not all(text for _, text in pairs):
            raise ModelError("continuation has no tokens", facts={"model": self.name})
        return [self._log_prob(one, text) for one, text in pairs]

    def fingerprint(self) -> str:
        """Return a digest of the name: two names are two systems."""
        return sha256_json(["scripted", self.name])

    def _reply(self, one: Chat) -> str:
        if callable(self._replies):
            return self._replies(one)
        return self._replies.get(one.messages[-1].content, self._default)

    def _by_words(self, one: Chat, text: str) -> float:
        likely = set(self._reply(one).split())
        return sum(math.log(0.5 if word in likely else 0.01) for word in text.split() or [text])
