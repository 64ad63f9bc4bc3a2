"""A server that speaks S3 over HTTP, in a process of its own, behind a wire that can be unplugged or made to stall."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from recert.service.storage.object_storage import Bucket

NAME = "made"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


class Wire:
    """Passes bytes on to a port, until it is unplugged; `stalls_after` bytes to it, it passes on nothing more."""

    def __init__(self, port: int) -> None:
        self.port, self._to = _free_port(), port
        self.stalls_after: int | None = None
        self._links: list[socket.socket] = []
        self._listening: socket.socket | None = None
        self.plug()

    def plug(self) -> None:
        """Take connections, from now on."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def unplug(self) -> None:
        """Refuse connections, and end those that are there."""
        assert self._listening is not None
        for one in [self._listening, *self._links]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._links.clear()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                link, _ = listening.accept()
                onward = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._links += [link, onward]
            for source, target, counted in ((link, onward, True), (onward, link, False)):
                threading.Thread(
                    target=self._pump, args=(source, target), kwargs={"counted": counted}
                ).start()

    def _pump(self, source: socket.socket, target: socket.socket, *, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                if counted and self.stalls_after is not None:
                    self.stalls_after -= len(block)
                    while self.stalls_after is not None and self.stalls_after < 0:
                        time.sleep(0.02)
                target.sendall(block)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class S3Server:
    """The server, a bucket in it, the wire to it, and a client of our own that goes past the wire."""

    def __init__(self) -> None:
        port = _free_port()
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client: Any = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}", config=Config(s3={"addressing_style": "path"})
        )
        self._wait()
        self.wire = Wire(port)
        self.url = f"http://127.0.0.1:{self.wire.port}"

    def _wait(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                self.client.create_bucket(Bucket=NAME)
                return
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
        raise AssertionError("the S3 server does not start")

    def end(self) -> None:
        """End it."""
        self.wire.stalls_after = None
        self.wire.unplug()
        self.client.close()
        self._process.kill()
        self._process.wait()

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys that hold something."""
        found = self.client.list_objects_v2(Bucket=NAME, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", ())]

    def unfinished(self) -> int:
        """Return how many uploads in parts are under way."""
        return len(self.client.list_multipart_uploads(Bucket=NAME).get("Uploads", ()))

    def put(self, key: str, data: bytes) -> None:
        """Put other bytes under a key, behind everybody's back."""
        self.client.put_object(Bucket=NAME, Key=key, Body=data)

    def bucket(self, prefix: str) -> Bucket:
        """Return the bucket as the service opens it."""
        return Bucket(f"s3://{NAME}/{prefix}", self.url)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run the server while the block does, with credentials for it in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        server = S3Server()
        try:
            yield server
        finally:
            server.end()
