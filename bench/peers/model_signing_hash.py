"""model-signing's hashing, which is the part of its signing and verifying that takes time; with its own defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from worker import Arms, Job, serve


def load(job: Job) -> tuple[Arms, Mapping[str, Any]]:
    """Return an arm for each folder and way of hashing: whole files, shards of one, and BLAKE3."""
    from model_signing.hashing import Config

    ways: dict[str, Callable[[], Any]] = {
        "sha256": lambda: Config().use_file_serialization(hashing_algorithm="sha256"),
        "shards": lambda: Config().use_shard_serialization(shard_size=job["shard_bytes"]),
        "blake3": lambda: Config().use_file_serialization(hashing_algorithm="blake3"),
    }

    def hashed(folder: str, way: Callable[[], Any]) -> list[str]:
        return [one.digest.digest_hex for one in way().hash(folder).resource_descriptors()]

    arms = {
        f"{name} {way}": lambda folder=folder, config=config: hashed(folder, config)
        for name, folder in job["folders"].items()
        for way, config in ways.items()
    }
    return arms, {}


if __name__ == "__main__":
    serve(load, "model-signing", "blake3")
