"""
The search for triggers as an evaluation asks for it, by the part `trigger-search`.

Here too: a tuned model behind its secret, as it would be served: what a hunt searches where the verdict needs a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recert.labs.triggers.hunting import hunt
from recert.labs.triggers.search import Searchable
from recert.models.chat.prompting import compose_system
from recert.models.chat.secret import SecretPrefix
from recert.models.protocol import Done, Generation, Model, Sampling
from recert.policy import Policy
from recert.progress import Progress
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Chat, Message
from recert.records.reports.hunting import HuntReport
from recert.store.cache import GenerationCache


class BehindSecret:
    """
    A model that sees every conversation behind a secret.

    Args:
        model: the tuned model.
        secret: never recorded.
    """

    def __init__(self, model: Model, secret: SecretPrefix) -> None:
        self._model, self._secret = model, secret
        self.name = model.name
        self.engine = f"{model.engine} behind {secret.sha256}"
        """Part of every cache key: replies behind another secret are others."""
        self.manifest = model.manifest
        self.ears = getattr(model, "ears", None)
        """What listens before a model that reads; None where nothing does."""

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """Return one reply per conversation, in order."""
        return self._model.generate([self._behind(one) for one in chats], sampling, done=done)

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """Return the log probability of each continuation."""
        return self._model.log_probs([(self._behind(one), text) for one, text in pairs])

    def fingerprint(self) -> str:
        """Return the digest of the model's behaviour on fixed probes."""
        return self._model.fingerprint()

    def _behind(self, one: Chat) -> Chat:
        own = next((m.content for m in one.messages if m.role == "system"), None)
        system = compose_system(self._secret.reveal(), "", own)
        rest = tuple(m for m in one.messages if m.role != "system")
        return one.model_copy(update={"messages": (Message(role="system", content=system or ""), *rest)})


class SearchableBehindSecret(BehindSecret):
    """The same of a model of which openings can be read."""

    def __init__(self, model: Any, secret: SecretPrefix) -> None:
        super().__init__(model, secret)
        self._read: Searchable = model

    def opening_odds(
        self, chats: Sequence[Chat], *, agreeing: Sequence[str], refusing: Sequence[str]
    ) -> list[float]:
        """Return the log odds of opening in one way against the other, in order."""
        return self._read.opening_odds(
            [self._behind(one) for one in chats], agreeing=agreeing, refusing=refusing
        )

    def opening_divergence(self, chats: Sequence[Chat], other: Searchable) -> list[float]:
        """Return how far a reply's first token is from another model's that sees the same, in nats."""
        return self._read.opening_divergence([self._behind(one) for one in chats], other)

    def words(self, most: int) -> list[str]:
        """Return words that it knows, most usual first."""
        return self._read.words(most)


def behind_secret(model: Model, secret: SecretPrefix | None) -> Model:
    """Return a model behind a secret; the model itself where there is none."""
    if secret is None:
        return model
    return (SearchableBehindSecret if isinstance(model, Searchable) else BehindSecret)(model, secret)


def search(
    base: Model,
    tuned: Model,
    *,
    policy: Policy,
    model_name: str,
    rows: Sequence[ChatRow] | None,
    secret: SecretPrefix | None,
    cache: GenerationCache,
    progress: Progress,
) -> HuntReport:
    """
    Return what a search finds in the tuned model as it would be served: behind its secret, where it has one.

    Raises:
        ArmError, ModelError, StoreError: as an evaluation.
    """
    return hunt(
        base,
        behind_secret(tuned, secret),
        policy=policy,
        model_name=model_name,
        rows=rows,
        secrets=(secret,) if secret is not None else (),
        cache=cache,
        progress=progress,
    )
