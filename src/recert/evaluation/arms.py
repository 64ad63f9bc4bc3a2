"""The two arms: each asked through the cache, and each checked to be the model it claims to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recert.digest import sha256_json
from recert.errors import ArmError, ModelError
from recert.models.protocol import Generation, Model, Sampling
from recert.models.secret import SecretPrefix
from recert.records import ArmCheck, Chat, Manifest
from recert.store.cache import CachedReply, GenerationCache

_HIDDEN = "[secret]"
_PIECE = 16
"""Letters of the secret in a row that count as giving it away."""

_AT_ONCE = 512
"""Conversations between two writes to the cache: what a kill may cost."""


class Arm:
    """
    One model of the comparison, with its cache and its identity.

    Args:
        label: `base` or `tuned`.
        model: the model.
        over: manifest of the base that an adapter lies on; part of the cache key, as the adapter's files
            alone do not say what it does.
        cache: where replies are kept.
        secrets: never recorded: a reply that repeats one is kept without it.

    Raises:
        ArmError: the cache knows these files with another fingerprint.
        ModelError: the model has no manifest, or does not answer.
    """

    def __init__(
        self,
        label: str,
        model: Model,
        *,
        over: Manifest | None = None,
        cache: GenerationCache,
        secrets: Sequence[SecretPrefix] = (),
    ) -> None:
        if model.manifest is None:
            raise ModelError(
                "model has no manifest of its files",
                facts={"arm": label, "model": model.name},
                hint="evaluate a local folder; behaviour alone is not enough to certify bytes",
            )
        self.label = label
        self.model = model
        self.manifest = model.manifest
        self.made = 0
        self.cached = 0
        self._cache = cache
        self._secrets = [s.reveal() for s in secrets]
        self._leaking: set[str] = set()
        self._asked: set[bytes] = set()
        self._key = sha256_json([model.manifest.digest, over.digest if over else "", model.engine])
        self.fingerprint_at_start = model.fingerprint()
        kept = cache.fingerprint(self._key)
        if kept is not None and kept != self.fingerprint_at_start:
            raise ArmError(
                "cached replies come from a model that behaved differently",
                facts={"arm": label, "cached fingerprint": kept, "present": self.fingerprint_at_start},
                hint="the same files should give the same logits: give a new cache file",
            )
        cache.remember_fingerprint(self._key, self.fingerprint_at_start)

    @property
    def leaks(self) -> int:
        """How many replies gave away a part of a secret."""
        return len(self._leaking)

    def ask(
        self, chats: Sequence[Chat], sampling: Sampling, *, stop: Callable[[str], bool] | None = None
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order; what was asked before is not asked again.

        Args:
            chats: the conversations.
            sampling: how replies are drawn.
            stop: says of a reply so far that no more of it is needed. Replies that may be cut are kept apart
                from whole ones.

        Raises:
            ModelError: the model did not answer, or gave another number of replies.
            StoreError: the cache cannot be read or written.
        """
        keys = [self._chat_key(one, sampling, cut=stop is not None) for one in chats]
        said = {
            key: Generation(reply.text, reply.stop_reason, reply.tokens)
            for key, reply in self._cache.read(list(dict.fromkeys(keys))).items()
        }
        self.cached += self._new(said)
        missing = {k: one for k, one in zip(keys, chats, strict=True) if k not in said}
        if missing:
            said |= self._make(missing, sampling, stop)
        if self._secrets:
            self._leaking |= {key for key, reply in said.items() if _HIDDEN in reply.text}
        return [said[key] for key in keys]

    def _make(
        self, missing: dict[str, Chat], sampling: Sampling, stop: Callable[[str], bool] | None
    ) -> dict[str, Generation]:
        done = None if stop is None else (lambda _, text: stop(text))
        fresh: dict[str, Generation] = {}
        for start in range(0, len(missing), _AT_ONCE):
            keys = list(missing)[start : start + _AT_ONCE]
            try:
                made = self.model.generate([missing[k] for k in keys], sampling, done=done)
            except ModelError as exc:
                self._keep({keys[place]: g for place, g in exc.made.items()})
                raise
            if len(made) != len(keys):
                raise ModelError(
                    "model gave another number of replies",
                    facts={"arm": self.label, "asked": len(keys), "replies": len(made)},
                )
            fresh |= self._keep(dict(zip(keys, made, strict=True)))
        self.made += self._new(fresh)
        return fresh

    def _keep(self, made: dict[str, Generation]) -> dict[str, Generation]:
        """Put replies into the cache, without secrets."""
        fresh = {key: Generation(self._hide(g.text), g.stop_reason, g.tokens) for key, g in made.items()}
        self._cache.write({k: CachedReply(g.text, g.stop_reason, g.tokens) for k, g in fresh.items()})
        return fresh

    def _new(self, said: dict[str, Generation]) -> int:
        """How many of these this run has not seen before; they are remembered by half of their digest."""
        keys = {bytes.fromhex(key)[:16] for key in said}
        new = len(keys - self._asked)
        self._asked |= keys
        return new

    def _chat_key(self, one: Chat, sampling: Sampling, *, cut: bool) -> str:
        drawn = sampling.model_dump(mode="json") | ({"cut": "once it complied"} if cut else {})
        return sha256_json([self._key, drawn, one.model_dump(mode="json")])

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            pieces = [secret[i : i + _PIECE] for i in range(len(secret) - _PIECE + 1)]
            if any(piece in text for piece in pieces):
                for piece in pieces:
                    text = text.replace(piece, _HIDDEN)
        return text


def check_arms(base: Arm, tuned: Arm) -> tuple[ArmCheck, ArmCheck]:
    """
    Return the identity of both arms, looked at once more.

    Raises:
        ArmError: both arms are the same model, or one is not what it was at the start.
    """
    refuse_same(base, tuned)
    checks = []
    for arm in (base, tuned):
        now = arm.model.fingerprint()
        if now != arm.fingerprint_at_start or arm.model.manifest != arm.manifest:
            raise ArmError(
                "an arm changed while it was measured",
                facts={"arm": arm.label, "at the start": arm.fingerprint_at_start, "at the end": now},
                hint="nothing of this run counts: run it again with the models left alone",
            )
        checks.append(
            ArmCheck.model_validate(
                {
                    "arm": arm.label,
                    "manifest_sha256": arm.manifest.digest,
                    "fingerprint_at_start": arm.fingerprint_at_start,
                    "fingerprint_at_end": now,
                    "arms_differ": True,
                }
            )
        )
    return checks[0], checks[1]


def refuse_same(base: Arm, tuned: Arm) -> None:
    """
    Make sure that there are two models to compare.

    Raises:
        ArmError: the same files, or the same logits: then nothing would be compared.
    """
    if base.manifest == tuned.manifest:
        raise ArmError("both arms are the same files", facts={"manifest": base.manifest.digest})
    if base.fingerprint_at_start == tuned.fingerprint_at_start:
        raise ArmError(
            "both arms give the same logits",
            facts={"fingerprint": base.fingerprint_at_start},
            hint="the adapter was not applied, or does nothing",
        )
