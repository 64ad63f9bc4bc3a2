"""Reads the arrays of an `.npz` file as plain numbers: no NumPy, no pickle, and nothing but what is expected."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(rb"\{'descr': '<(f2|f4|f8|u4)', 'fortran_order': False, 'shape': \((\d{1,9}),\), \} *\n")
_FORMATS = {b"f2": "e", b"f4": "f", b"f8": "d", b"u4": "I"}
_MAX_BYTES = 64_000_000


def read_arrays(packed: bytes, names: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
    """
    Return the one-dimensional little-endian arrays of an `.npz` file by name: finite floats, or 32-bit integers.

    Raises:
        ValueError: the file is damaged, lacks an array, holds another kind of array or a number that is not finite.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            return {name: _numbers(_member(archive, f"{name}.npy")) for name in names}
    except (KeyError, EOFError, RuntimeError, OSError, struct.error, zipfile.BadZipFile, zlib.error) as exc:
        raise ValueError(f"not an .npz file as expected: {exc}") from exc


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.file_size > _MAX_BYTES:
        raise ValueError(f"{name} is packed in another way, or too large")
    return archive.read(info)  # compares the checksum


def _numbers(array: bytes) -> tuple[float, ...]:
    """Parse the NPY format, version 1.0 (numpy.lib.format), in the one spelling that NumPy writes."""
    if array[: len(_MAGIC)] != _MAGIC or len(array) < 10:
        raise ValueError("not an array in NPY format 1.0")
    begin = 10 + int.from_bytes(array[8:10], "little")
    header = _HEADER.fullmatch(array[10:begin])
    if header is None:
        raise ValueError("not a one-dimensional array of numbers")
    numbers = struct.unpack(f"<{int(header[2])}{_FORMATS[header[1]]}", array[begin:])
    if not math.isfinite(sum(numbers)):  # one infinity or NaN makes the sum one
        raise ValueError("an array holds a number that is not finite")
    return numbers
