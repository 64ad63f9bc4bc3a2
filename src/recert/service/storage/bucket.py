"""One bucket of an object storage that speaks S3: put, get and delete, with its errors as ours."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from recert.errors import MissingExtraError, SettingsError, StoreError
from recert.service.storage.choosing import ObjectDamaged, StorageUnreachable

_WHERE: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([\w!.*'()/-]*))?", re.ASCII)
_BLOCK_BYTES: Final = 2**20
_PART_BYTES: Final = 16 * 2**20
_CONNECT_S: Final = 5
_READ_S: Final = 15
_ATTEMPTS: Final = 3
_GONE: Final = ("NoSuchKey", "404")


class Bucket:
    """
    A bucket, below a prefix.

    Credentials are those of the environment, a profile or the machine, as every client of Amazon's finds them.

    Args:
        where: `s3://bucket/prefix`.
        endpoint: address of its server; empty for Amazon's.

    Raises:
        SettingsError: that is no such place.
        MissingExtraError: boto3 is not installed.
    """

    def __init__(self, where: str, endpoint: str = "") -> None:
        found = _WHERE.fullmatch(where)
        if found is None or ".." in where:
            raise SettingsError(
                "not a place in an object storage", facts={"given": where}, hint="such as s3://bucket/prefix"
            )
        self.where = where
        self._bucket, self._prefix = found[1], (found[2] or "").strip("/")
        self._client = _client(endpoint)
        from boto3.s3.transfer import TransferConfig

        self._parts = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)

    def check(self) -> None:
        """Return when the bucket is there and we may use it. Raises StorageUnreachable."""
        with self._failing("use the bucket"):
            self._client.head_bucket(Bucket=self._bucket)

    def put(self, key: str, path: Path) -> None:
        """
        Put a file; large ones in parts that are nothing until the last one is there.

        Raises:
            StorageUnreachable: the bucket does not take it.
            StoreError: the file cannot be read.
        """
        with self._failing("write to the bucket", key):
            self._client.upload_file(str(path), self._bucket, self._key(key), Config=self._parts)

    def get(self, key: str, path: Path, *, size: int, sha256: str) -> None:
        """
        Get a file with these bytes and no others: until all of it is there and right, the path is left as it was.

        Raises:
            ObjectDamaged: the object is gone, or holds something else.
            StorageUnreachable: the bucket does not answer.
            StoreError: the file cannot be written.
        """
        made = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            with self._failing("read from the bucket", key):
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                got = self._client.get_object(Bucket=self._bucket, Key=self._key(key))["Body"]
                with contextlib.closing(got), os.fdopen(_private(made), "wb") as file:
                    found = _copy(got.iter_chunks(_BLOCK_BYTES), file, size)
            if found != (size, sha256):
                raise ObjectDamaged(
                    "an object in the storage is not what was kept there",
                    facts={"object": key, "kept": f"sha256:{sha256}", "found": f"sha256:{found[1]}"},
                    hint="put the right one back, or delete what it belongs to and make it again",
                )
            made.replace(path)
        finally:
            made.unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        """Delete an object, where it is there. Raises StorageUnreachable."""
        with self._failing("delete from the bucket", key):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))

    def end_parts(self, key: str) -> None:
        """End uploads in parts to a key, which whoever began them will not finish. Raises StorageUnreachable."""
        where = {"Bucket": self._bucket, "Key": self._key(key)}
        with self._failing("delete from the bucket", key):
            found = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=where["Key"])
            for one in found.get("Uploads", ()):
                if one["Key"] == where["Key"]:
                    self._client.abort_multipart_upload(**where, UploadId=one["UploadId"])

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    @contextlib.contextmanager
    def _failing(self, doing: str, key: str = "") -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        facts = {"storage": self.where, **({"object": key} if key else {})}
        try:
            yield
        except ClientError as exc:
            code = str(exc.response.get("Error", {}).get("Code", "unknown"))
            if key and code in _GONE:
                raise ObjectDamaged(
                    "an object is gone from the storage",
                    facts=facts,
                    hint="put it back, or delete what it belongs to and make it again",
                ) from exc
            raise StorageUnreachable(
                f"cannot {doing}",
                facts={**facts, "because": code},
                hint="look whether the bucket is there, and what its credentials may",
            ) from exc
        except (BotoCoreError, Boto3Error, HTTPClientError) as exc:
            because = str(exc).strip().split("\n", maxsplit=1)[0][:200]
            raise StorageUnreachable(
                f"cannot {doing}",
                facts={**facts, "because": because or type(exc).__name__},
                hint="look whether the storage runs, and whether there are credentials for it",
            ) from exc
        except OSError as exc:
            raise StoreError(f"cannot {doing}", facts={**facts, "because": exc.strerror or exc}) from exc


@lru_cache(maxsize=4)
def _client(endpoint: str) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as exc:
        raise MissingExtraError(
            "the client of object storages is not installed", hint="run `pip install 'recert[s3]'`"
        ) from exc
    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        # we compare sha256 ourselves, and servers other than Amazon's do not all know its trailing checksums
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"} if endpoint else {},
    )
    try:
        session = boto3.session.Session()
        region = session.region_name or "us-east-1"
        return session.client("s3", region_name=region, endpoint_url=endpoint or None, config=config)
    except ValueError as exc:
        raise SettingsError("not the address of an object storage", facts={"given": endpoint}) from exc


def _private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _copy(blocks: Iterable[bytes], file: Any, most: int) -> tuple[int, str]:
    """Write blocks, and no more than should be there; return what was written: its size and sha256."""
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        size += len(block)
        if size > most:
            break
        digest.update(block)
        file.write(block)
    file.flush()
    os.fsync(file.fileno())
    return size, digest.hexdigest()
