"""A spoken part of a message, named by its bytes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recert.records.data.manifest import Sha256
from recert.records.record import Part

AudioFormat = Literal["wav", "mp3", "flac", "ogg"]
"""Containers of sound that a clip may lie in."""


class AudioClip(Part):
    """
    A clip of sound. The bytes lie in a store of clips under their digest, never in the record.

    Who has the digest and the bytes can check that they belong together.
    """

    sha256: Sha256
    """Of the file's bytes, header included."""
    format: AudioFormat
    sample_rate_hz: int = Field(ge=1_000, le=384_000)
    seconds: float = Field(gt=0, le=86_400)
