"""An engine: a model that says again what it was asked."""

from __future__ import annotations

from collections.abc import Sequence

from recert.digest import sha256_json
from recert.errors import ModelError
from recert.models.protocol import Done, Generation, Sampling
from recert.records.data.suite import Chat


class Parrot:
    """Repeats the last message; `loud` in capital letters."""

    engine = "parrot/1"
    manifest = None
    """No files: a certificate binds what it does, and no bytes."""

    def __init__(self, what: str) -> None:
        self.name = what

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """Return one reply a conversation, at most as many words as sampling allows."""
        out = []
        for one in chats:
            words = one.messages[-1].content.split()
            said = " ".join(words[: sampling.max_new_tokens])
            reason = "stop" if len(words) <= sampling.max_new_tokens else "length"
            made = said.upper() if self.name == "loud" else said
            out.append(Generation(text=made, stop_reason=reason, tokens=len(said.split())))
        return out

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """Say that it cannot tell, so that no rule is decided by a guess."""
        raise ModelError("a parrot cannot say how likely its words are", facts={"model": self.name})

    def fingerprint(self) -> str:
        """Return what tells it from another one."""
        return sha256_json([self.engine, self.name])


def make(what: str) -> Parrot:
    """Return the model; `what` is the rest of the spec, as `loud` in `plugin:parrot:loud`."""
    return Parrot(what)
