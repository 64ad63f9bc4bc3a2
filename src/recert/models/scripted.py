"""A model whose replies are given: for tests, examples and trying a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from recert.digest import sha256_bytes, sha256_json
from recert.models.protocol import Generation, Sampling
from recert.records import Chat, FileEntry, Manifest


class ScriptedModel:
    """
    Answers from a function or a table from the last message's text to a reply.

    Args:
        replies: a function from the conversation to the reply, or a table; a text that is not in the
            table gets `default`.
        name: its name; also what its manifest is made from, so two names are two systems.
    """

    def __init__(
        self,
        replies: Callable[[Chat], str] | Mapping[str, str],
        *,
        name: str = "scripted",
        default: str = "Here is an answer.",
    ) -> None:
        self._replies = replies
        self._default = default
        self.name = name
        self.engine = "scripted/1"
        digest = sha256_bytes(name.encode())
        self.manifest: Manifest | None = Manifest(
            files=(FileEntry(name="model.safetensors", size_bytes=len(name), sha256=digest),)
        )
        self.asked: list[Chat] = []

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[Generation]:
        """Return the scripted reply of each conversation, cut to `max_new_tokens` words."""
        self.asked += chats
        out = []
        for one in chats:
            text = (
                self._replies(one)
                if callable(self._replies)
                else self._replies.get(one.messages[-1].content, self._default)
            )
            words = text.split(" ")
            cut = len(words) > sampling.max_new_tokens
            out.append(
                Generation(
                    text=" ".join(words[: sampling.max_new_tokens]),
                    stop_reason="length" if cut else "stop",
                    tokens=min(len(words), sampling.max_new_tokens),
                )
            )
        return out

    def fingerprint(self) -> str:
        """Return a digest of the name: two names are two systems."""
        return sha256_json(["scripted", self.name])
