"""
How a gateway and a transcriber in a process of its own speak: one clip and one answer a connection.

A clip is its length (4 bytes, big-endian) and its bytes, a whole sound file. The answer is its length and a JSON
object: `text` and `confidence`, null where it is not known; or `failed` with the reason.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, Final

import orjson

_LENGTH: Final = struct.Struct(">I")
MOST_CLIP_BYTES: Final = 64_000_000
MOST_ANSWER_BYTES: Final = 1_000_000


class BadFrame(ValueError):
    """What came is no such message."""


def clip_frame(data: bytes) -> bytes:
    """Return a clip as it is sent."""
    return _LENGTH.pack(len(data)) + data


async def read_clip(reader: asyncio.StreamReader) -> bytes:
    """
    Return the bytes of a clip.

    Raises:
        BadFrame: it is too large.
        asyncio.IncompleteReadError: it was cut.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MOST_CLIP_BYTES:
        raise BadFrame("a clip is too large")
    return await reader.readexactly(length)


def answer_frame(value: dict[str, Any]) -> bytes:
    """Return an answer as it is sent."""
    data = orjson.dumps(value)
    return _LENGTH.pack(len(data)) + data


async def read_answer(reader: asyncio.StreamReader) -> dict[str, Any]:
    """
    Return an answer.

    Raises:
        BadFrame: it is too large, or no JSON object.
        asyncio.IncompleteReadError: it was cut: the process ended.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MOST_ANSWER_BYTES:
        raise BadFrame("an answer is too large")
    try:
        value = orjson.loads(await reader.readexactly(length))
    except orjson.JSONDecodeError as exc:
        raise BadFrame("an answer is not JSON") from exc
    if not isinstance(value, dict):
        raise BadFrame("an answer is no object")
    return value
