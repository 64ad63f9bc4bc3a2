"""The two arms: each asked through the cache, and each checked to be the model it claims to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

from recert.digest import sha256_json
from recert.errors import ArmError, ModelError
from recert.evaluation.capability import choose
from recert.models.chat.secret import SecretPrefix
from recert.models.chat.thinking import think
from recert.models.protocol import Done, Generation, Model, Sampling
from recert.models.speech.transcribing import Transcriber
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, Prompt
from recert.records.live.transcriber import EarsManifest
from recert.store.cache import CachedReply, GenerationCache, MadeBy

_HIDDEN = "[secret]"
_PIECE = 16
"""Letters of the secret in a row that count as giving it away."""

_AT_ONCE = 512
"""Conversations between two writes to the cache: what a kill may cost."""

_READ_AT_ONCE = 1024
"""Likewise for readings, which are short."""


_CUT = "once it complied in words of its own"
"""How a reply may have been cut: part of what it is kept under."""


@dataclass(frozen=True)
class KeptReply:
    """A reply that was in the cache before this run, and what it takes to ask for it again."""

    arm: Arm
    place: int
    """Of the conversation among those that were asked together."""
    chat: Chat
    sampling: Sampling | None = None
    stop: Callable[[str], bool] | None = None
    prompt: Prompt | None = None
    """The prompt whose choices were offered, or whose reference was weighed; None where a reply was asked for."""


class Arm:
    """
    One model of the comparison, with its cache and its identity: its files, or at an endpoint its behaviour.

    Where a transcriber stands before it, `heard_by` is the transcriber's fingerprint, and `ears` its files; the model's
    engine names the fingerprint, and is part of the cache key.

    Args:
        label: `base` or `tuned`.
        model: the model.
        over: manifest of the base that an adapter lies on; part of the cache key, as the adapter's files
            alone do not say what it does.
        cache: where replies are kept.
        secrets: never recorded: a reply that repeats one is kept without it.

    Raises:
        ArmError: the cache knows these files with another fingerprint.
        ModelError: the model does not answer.
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
        self.label = label
        self.model = model
        self.manifest = model.manifest
        self.heard_by = heard_by(model)
        self.ears: EarsManifest | None = getattr(model, "ears", None)
        self.made = 0
        self.cached = 0
        self._cache = cache
        self._secrets = [s.reveal() for s in secrets]
        self._leaking: set[str] = set()
        self._asked: set[bytes] = set()
        self.fingerprint_at_start = model.fingerprint()
        known = model.manifest.digest if model.manifest else f"{model.name} {self.fingerprint_at_start}"
        self._key = sha256_json([known, over.digest if over else "", model.engine])
        self._made_by = MadeBy(self._key, self.fingerprint_at_start)
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
        self,
        chats: Sequence[Chat],
        sampling: Sampling,
        *,
        stops: Sequence[Callable[[str], bool]] | None = None,
        told: Callable[[KeptReply], None] | None = None,
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order; what was asked before is not asked again.

        Args:
            chats: the conversations.
            sampling: how replies are drawn.
            stops: for each conversation, says of a reply so far that no more of it is needed. Replies that may be
                cut are kept apart from whole ones.
            told: told of each reply that was kept before this run, so that it can be asked again.

        Raises:
            ModelError: the model did not answer, or gave another number of replies.
            StoreError: the cache cannot be read or written.
        """
        drawn = sampling.model_dump(mode="json") | ({"cut": _CUT} if stops else {})
        keys = [sha256_json([self._key, drawn, one.model_dump(mode="json")]) for one in chats]
        by_key = dict(zip(keys, zip(chats, stops or repeat(None, len(chats)), strict=True), strict=True))

        def reply(some: Sequence[str]) -> list[Generation]:
            ends = [by_key[key][1] for key in some]
            return think(self.model, [by_key[key][0] for key in some], sampling, done=_ended_by(ends))

        said, kept = self._said(keys, reply)
        if told is not None:
            for place in self._places(keys, kept):
                told(KeptReply(self, place, chats[place], sampling, stops[place] if stops else None))
        return [said[key] for key in keys]

    def choose(
        self,
        prompts: Sequence[Prompt],
        chats: Sequence[Chat],
        *,
        told: Callable[[KeptReply], None] | None = None,
    ) -> list[Generation]:
        """
        Return for each multiple-choice prompt the choice that the model finds likeliest, as its reply.

        For a prompt with a reference it is the logarithm of that reply's probability, in figures. A reply is empty
        where the model could not tell. `told` is as for `ask`.

        Raises:
            ModelError: the engine cannot tell how likely a text is.
            StoreError: the cache cannot be read or written.
        """
        keys = [
            sha256_json([self._key, _offered(p), one.model_dump(mode="json")])
            for p, one in zip(prompts, chats, strict=True)
        ]
        by_key = dict(zip(keys, zip(prompts, chats, strict=True), strict=True))

        def pick(some: Sequence[str]) -> list[Generation]:
            asked = [by_key[key] for key in some]
            return self._picked([p for p, _ in asked], [c for _, c in asked])

        said, kept = self._said(keys, pick)
        if told is not None:
            for place in self._places(keys, kept):
                told(KeptReply(self, place, chats[place], prompt=prompts[place]))
        return [said[key] for key in keys]

    def ask_again(self, kept: Sequence[KeptReply]) -> list[Generation]:
        """
        Return what the model says now, in order. The cache is neither read nor written.

        Raises:
            ModelError: the model did not answer.
        """
        alike: dict[tuple[object, ...], list[int]] = {}
        for place, one in enumerate(kept):
            alike.setdefault((one.sampling, one.stop is None, one.prompt is None), []).append(place)
        out: dict[int, Generation] = {}
        for places in alike.values():
            sampling = kept[places[0]].sampling
            chats = [kept[place].chat for place in places]
            if sampling is None:
                prompts = [prompt for place in places if (prompt := kept[place].prompt) is not None]
                made = self._picked(prompts, chats)
            else:
                ends = [kept[place].stop for place in places]
                made = think(self.model, chats, sampling, done=_ended_by(ends))
            self._require_all(made, places)
            out |= dict(zip(places, made, strict=True))
        return [replace(out[place], text=self._hide(out[place].text)) for place in range(len(kept))]

    def readings(
        self, what: object, chats: Sequence[Chat], read: Callable[[Sequence[Chat]], Sequence[float]]
    ) -> list[float]:
        """
        Return a number for each conversation, in order; what was read before is not read again.

        Args:
            what: says what is read and how, in JSON's types: another reading is another one.
            chats: the conversations.
            read: reads those that are not known.

        Raises:
            ModelError: the model could not be read.
            StoreError: the cache cannot be read or written.
        """
        keys = [sha256_json([self._key, {"reading": what}, one.model_dump(mode="json")]) for one in chats]
        by_key = dict(zip(keys, chats, strict=True))
        known = {
            key: float(reply.text) for key, reply in self._cache.read(list(by_key), self._made_by).items()
        }
        missing = [key for key in by_key if key not in known]
        for start in range(0, len(missing), _READ_AT_ONCE):
            some = missing[start : start + _READ_AT_ONCE]
            values = dict(zip(some, read([by_key[key] for key in some]), strict=True))
            fresh = {key: CachedReply(repr(value), "reading", 0) for key, value in values.items()}
            self._cache.write(fresh, self._made_by)
            known |= values
        return [known[key] for key in keys]

    def kept(self, what: object, make: Callable[[], str]) -> str:
        """
        Return what was read of the model before; what is not known is made, and kept.

        Args:
            what: says what is read, in JSON's types.
            make: reads it.

        Raises:
            ModelError: the model could not be read.
            StoreError: the cache cannot be read or written.
        """
        key = sha256_json([self._key, {"kept": what}])
        known = self._cache.read([key], self._made_by)
        if not known:
            known = {key: CachedReply(make(), "reading", 0)}
            self._cache.write(known, self._made_by)
        return known[key].text

    def _picked(self, prompts: Sequence[Prompt], chats: Sequence[Chat]) -> list[Generation]:
        both = list(zip(prompts, chats, strict=True))
        weighed = [(one, p.reference) for p, one in both if p.reference is not None]
        values = self.model.log_probs(weighed) if weighed else []
        self._require_all(values, weighed)
        log_probs = iter(values)
        offered = [(p, one) for p, one in both if p.reference is None]
        chosen = iter(choose(self.model, [p for p, _ in offered], [one for _, one in offered]))
        said = [next(chosen).reply if p.reference is None else repr(float(next(log_probs))) for p in prompts]
        return [Generation(text, "stop", 0) for text in said]

    def _said(
        self, keys: Sequence[str], make: Callable[[Sequence[str]], list[Generation]]
    ) -> tuple[dict[str, Generation], set[str]]:
        """Replies by key, those that are kept and new ones for the rest; and which were kept before this run."""
        said = {
            key: Generation(reply.text, reply.stop_reason, reply.tokens)
            for key, reply in self._cache.read(list(dict.fromkeys(keys)), self._made_by).items()
        }
        kept = set() if self._cache.of_one_run else {key for key in said if _half(key) not in self._asked}
        self.cached += self._new(said)
        missing = [key for key in dict.fromkeys(keys) if key not in said]
        if missing:
            try:
                made = make(missing)
            except ModelError as exc:
                self._keep({missing[place]: reply for place, reply in exc.made.items()})
                raise
            self._require_all(made, missing)
            said |= self._keep(dict(zip(missing, made, strict=True)))
        if self._secrets:
            self._leaking |= {key for key, reply in said.items() if _HIDDEN in reply.text}
        return said, kept

    def _require_all(self, made: Sequence[object], asked: Sequence[object]) -> None:
        if len(made) != len(asked):
            raise ModelError(
                "model gave another number of replies",
                facts={"arm": self.label, "asked": len(asked), "replies": len(made)},
            )

    @staticmethod
    def _places(keys: Sequence[str], kept: set[str]) -> list[int]:
        """The first place of each key that was kept."""
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        return [first[key] for key in dict.fromkeys(keys) if key in kept]

    def _keep(self, made: dict[str, Generation]) -> dict[str, Generation]:
        fresh = {key: Generation(self._hide(g.text), g.stop_reason, g.tokens) for key, g in made.items()}
        self._cache.write(
            {k: CachedReply(g.text, g.stop_reason, g.tokens) for k, g in fresh.items()}, self._made_by
        )
        self.made += self._new(fresh)
        return fresh

    def _new(self, said: dict[str, Generation]) -> int:
        """How many of these this run has not seen before; they are remembered by half of their digest."""
        keys = {_half(key) for key in said}
        new = len(keys - self._asked)
        self._asked |= keys
        return new

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            pieces = [secret[i : i + _PIECE] for i in range(len(secret) - _PIECE + 1)]
            if any(piece in text for piece in pieces):
                for piece in pieces:
                    text = text.replace(piece, _HIDDEN)
        return text


def _offered(prompt: Prompt) -> dict[str, object]:
    return {"choices": list(prompt.choices)} if prompt.reference is None else {"reference": prompt.reference}


def _half(key: str) -> bytes:
    return bytes.fromhex(key)[:16]


def heard_by(model: Model) -> str:
    """The fingerprint of the transcriber before a model; empty where there is none."""
    transcriber: Transcriber | None = getattr(model, "transcriber", None)
    return transcriber.fingerprint() if transcriber is not None else ""


def _ended_by(stops: Sequence[Callable[[str], bool] | None]) -> Done | None:
    """What an engine asks of each conversation's reply so far; None where every reply is made whole."""
    if all(stop is None for stop in stops):
        return None

    def done(at: int, text: str) -> bool:
        stop = stops[at]
        return stop is not None and stop(text)

    return done
