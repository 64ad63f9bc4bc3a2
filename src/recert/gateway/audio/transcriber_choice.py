"""
Which transcriber is to listen, before it is started or asked.

Here too: a transcriber elsewhere, that speaks OpenAI's `/v1/audio/transcriptions`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson

from recert import settings
from recert.digest import canonical_json, sha256_bytes
from recert.errors import EndpointError, InputError
from recert.gateway.audio.clips import Clip
from recert.gateway.audio.hearing import ClipTranscriber, Words
from recert.gateway.audio.transcriber_process import ManagedTranscriber, our_command
from recert.models.remote.http_client import ApiClient
from recert.models.speech.transcribing import TranscribeFailed
from recert.records.live.transcriber import EarsManifest

_MOST_BYTES: Final = 1_000_000
_MOST_WAITING: Final = 64
_TYPES: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}


class RemoteTranscriber:
    """
    Asks one endpoint, once a clip: what fails is refused rather than waited for.

    Confidence is the mean probability of the tokens, of the segment that was heard worst (`avg_logprob`), or of all of
    them (`logprobs`). An endpoint that tells neither is never sure. `no_speech` is the highest of any segment.

    Args:
        url: where the API begins, `…/v1`.
        model: its name there.
        api_key: sent as a bearer token; None for none.
        at_once: clips that are asked about at once; more wait, up to 64.

    Raises:
        InputError: the address is none.
    """

    def __init__(self, url: str, model: str, api_key: str | None = None, *, at_once: int = 8) -> None:
        self._client = ApiClient(url, api_key=api_key)
        self._model = model
        self._slots = asyncio.Semaphore(at_once)
        self._most = at_once + _MOST_WAITING
        self._waiting = 0
        self._session: aiohttp.ClientSession | None = None
        self.name = f"{model} at {self._client.host}"
        """Model and host."""
        self.sha256 = sha256_bytes(canonical_json({"model": model, "url": self._client.url}))
        """Of address and name: what runs there nobody here can know."""

    @property
    def ears(self) -> EarsManifest | None:
        """None: nobody here sees its files."""
        return None

    @property
    def down(self) -> bool:
        """Nothing is known of it before it is asked."""
        return False

    async def hear(self, clip: Clip) -> Words | TranscribeFailed:
        """Return what it says of a clip."""
        if self._waiting >= self._most:
            return TranscribeFailed("too many clips wait")
        self._waiting += 1
        try:
            async with self._slots:
                return await self._ask(clip)
        finally:
            self._waiting -= 1

    async def _ask(self, clip: Clip) -> Words | TranscribeFailed:
        if self._session is None:
            self._session = self._client.session()
        form = aiohttp.FormData()
        form.add_field(
            "file", clip.data, filename=f"clip.{clip.format}", content_type=_TYPES.get(clip.format)
        )
        for name, value in (
            ("model", self._model),
            ("response_format", "verbose_json"),
            ("temperature", "0"),
            ("timestamp_granularities[]", "segment"),
        ):
            form.add_field(name, value)
        try:
            data = await self._client.send(
                self._session,
                "POST",
                "/audio/transcriptions",
                most_bytes=_MOST_BYTES,
                attempts=1,
                data=form,
                allow_redirects=False,
            )
        except EndpointError as exc:
            if status := exc.facts.get("status"):
                return TranscribeFailed(f"the endpoint says {status}")
            return TranscribeFailed(f"the endpoint does not answer: {type(exc.__cause__).__name__}")
        return understood(data)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def understood(data: bytes) -> Words | TranscribeFailed:
    """Return what an answer says; what cannot be read, or has no text, is a failure."""
    try:
        value = orjson.loads(data)
        text = value["text"]
        if not isinstance(text, str):
            return TranscribeFailed("the endpoint's answer has no text")
        segments = value.get("segments") or []
        return Words(
            text=text,
            confidence=_worst(segments) if segments else _mean(value.get("logprobs") or []),
            no_speech=max((float(one["no_speech_prob"]) for one in segments), default=None),
        )
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return TranscribeFailed("the endpoint's answer is not understood")


def _worst(segments: list[dict[str, Any]]) -> float:
    """Of the segment that was heard worst: what was said in it is not made good by the others."""
    return math.exp(min(0.0, *(float(one["avg_logprob"]) for one in segments)))


def _mean(tokens: list[dict[str, Any]]) -> float | None:
    if not tokens:
        return None
    return math.exp(min(0.0, sum(float(one["logprob"]) for one in tokens) / len(tokens)))


_REMOTE: Final = "openai:"
CLIPS_AT_ONCE: Final = 2
"""Where nothing else is said."""


@dataclass(frozen=True)
class TranscriberChoice:
    """
    A transcriber that is yet to be started, or asked.

    Args:
        spec: what the process of our own loads: `whisper-tiny`, or a folder of a Whisper model in CTranslate2's form;
            or `openai:URL#model` for one elsewhere.
        at_once: clips that it hears at once.

    Raises:
        InputError: an address has no model behind it.
    """

    spec: str
    at_once: int = CLIPS_AT_ONCE

    def __post_init__(self) -> None:
        if self.is_remote and not all(self._address()):
            raise InputError(
                "a transcriber elsewhere has an address and a model",
                facts={"given": self.spec},
                hint="openai:URL#model",
            )

    @property
    def is_remote(self) -> bool:
        """Whether it is asked elsewhere."""
        return self.spec.startswith(_REMOTE)

    def _address(self) -> tuple[str, str]:
        url, _, model = self.spec.removeprefix(_REMOTE).rpartition("#")
        return url, model

    def open(self, progress: Callable[[str], None] | None = None) -> ClipTranscriber:
        """
        Return the transcriber, started where it is ours.

        Raises:
            GatewayError: it does not start.
            InputError: its address is none.
        """
        if self.is_remote:
            url, model = self._address()
            return RemoteTranscriber(url, model, settings.endpoint_key(), at_once=self.at_once)
        made = ManagedTranscriber(our_command(self.spec), at_once=self.at_once, progress=progress)
        made.start()
        return made
