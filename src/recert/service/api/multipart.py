"""An upload, read in pieces onto the disk as it arrives: never whole in memory, and never more than it may be."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from recert.errors import StoreError
from recert.gateway.protocol.errors import BadRequest, HttpError
from recert.service.storage.tables import new_id

_MOST_FIELD_BYTES: Final = 4_096
_MOST_PARTS: Final = 32
_MOST_HEAD_BYTES: Final = 8_192


@dataclass
class Upload:
    """What a form held: its fields, and the file that now lies on the disk."""

    path: Path
    fields: dict[str, str] = field(default_factory=dict)
    filename: str = ""
    sha256: str = ""
    size: int = 0
    has_file: bool = False


class _Form:
    """Takes what the parser finds."""

    def __init__(self, upload: Upload, file: IO[bytes], most_bytes: int) -> None:
        self.upload, self._file, self._most = upload, file, most_bytes
        self._digest = hashlib.sha256()
        self._name, self._value, self._headers = b"", b"", {}  # type: bytes, bytes, dict[bytes, bytes]
        self._field, self._is_file, self._parts, self._head = "", False, 0, 0

    def part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise BadRequest("the form has too many parts", code="invalid_form")
        self._headers, self._value, self._field, self._is_file, self._head = {}, b"", "", False, 0

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._value += data[start:end]

    def _grow(self, by: int) -> None:
        self._head += by
        if self._head > _MOST_HEAD_BYTES:
            raise BadRequest("the headers of a part are too long", code="invalid_form")

    def header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._field == "file"
        if self._is_file:
            if self.upload.has_file:
                raise BadRequest("the form holds more than one file", param="file", code="invalid_form")
            self.upload.has_file = True
            self.upload.filename = options.get(b"filename", b"").decode("utf-8", "replace")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        block = data[start:end]
        if not self._is_file:
            self._value += block
            if len(self._value) > _MOST_FIELD_BYTES:
                raise BadRequest(
                    "a field of the form is too long", param=self._field[:64], code="invalid_form"
                )
            return
        self.upload.size += len(block)
        if self.upload.size > self._most:
            raise BadRequest(
                f"the file is larger than {self._most} bytes", param="file", code="file_too_large", status=413
            )
        self._digest.update(block)
        self._file.write(block)

    def part_end(self) -> None:
        if not self._is_file:
            self.upload.fields[self._field[:64]] = self._value.decode("utf-8", "replace")
        self._value = b""

    def end(self) -> None:
        self.upload.sha256 = self._digest.hexdigest()


@contextlib.contextmanager
def _incoming(folder: Path, free_bytes: int) -> Iterator[tuple[Path, IO[bytes]]]:
    """Give a file for what arrives, which is gone at the end unless it was moved."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < free_bytes:
            raise _full()
        path = folder / new_id("upload")
        file = path.open("xb")
    except OSError as exc:
        raise StoreError("cannot write an upload", facts={"folder": folder, "because": exc.strerror}) from exc
    try:
        with file:
            yield path, file
    finally:
        path.unlink(missing_ok=True)


def _full() -> HttpError:
    return HttpError("the service's disk is full; nothing was kept", status=507, code="insufficient_storage")


@contextlib.asynccontextmanager
async def received(
    stream: AsyncIterator[bytes], content_type: str, *, folder: Path, most_bytes: int, free_bytes: int
) -> AsyncIterator[Upload]:
    """
    Give the upload of a `multipart/form-data` body; its file is gone at the end unless it was moved.

    Args:
        stream: the body, as it arrives.
        content_type: the header that names the boundary.
        folder: where the file is written meanwhile, on the disk where it will stay.
        most_bytes: the largest file.
        free_bytes: free space below which nothing is taken.

    Raises:
        BadRequest: it is no such form, or too large.
        HttpError: the disk is full.
        StoreError: the folder cannot be written.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 200:
        raise BadRequest(
            "content-type must be multipart/form-data", code="unsupported_media_type", status=415
        )
    with _incoming(folder, free_bytes) as (path, file):
        form = _Form(Upload(path), file, most_bytes)
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.part_begin,
                "on_part_data": form.part_data,
                "on_part_end": form.part_end,
                "on_header_field": form.header_field,
                "on_header_value": form.header_value,
                "on_header_end": form.header_end,
                "on_headers_finished": form.headers_finished,
                "on_end": form.end,
            },
        )
        try:
            async for block in stream:
                parser.write(block)
            parser.finalize()
            file.flush()
            os.fsync(file.fileno())
        except FormParserError as exc:
            raise BadRequest("the form cannot be read", code="invalid_form") from exc
        except OSError as exc:
            raise _full() from exc
        if not form.upload.sha256:
            raise BadRequest("the form ended too soon", code="invalid_form")
        yield form.upload
