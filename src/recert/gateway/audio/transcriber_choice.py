"""Which transcriber is to listen, before it is started or asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from recert import settings
from recert.errors import InputError
from recert.gateway.audio.hearing import ClipTranscriber
from recert.gateway.audio.transcriber_process import ManagedTranscriber, our_command
from recert.gateway.audio.transcriber_remote import RemoteTranscriber

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
