"""
What a transparency log costs: entries a second, and time and size of a proof in a log of 100,000 entries.

Appending is timed one by one, synced each time as a command does it, and many at once. Everything is on the disk of
`--folder`; other work on the machine makes figures worse, never better.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from peers.page import claim, machine
from recert.certification import Envelope, generate_key
from recert.certification.log.logged import log_checkpoint, log_envelope
from recert.certification.log.proving import prove_logged
from recert.certification.signing.envelope import Signature
from recert.digest import canonical_json, sha256_bytes
from recert.records.signed.transparency import LogEntry
from recert.store.transparency.folder import LogFolder, create_log
from recert.store.transparency.merkle import is_included, leaf_hash

AT = datetime(2026, 1, 1, tzinfo=UTC)


def envelope(number: int) -> bytes:
    """Return a small signed file, unlike others; a log checks no signature."""
    payload = canonical_json({"serial": f"{number:032x}"})
    signed = Envelope("application/vnd.recert.measure+json", payload, (Signature("ab" * 32, b"x" * 64),))
    return signed.to_json()


def entry(number: int) -> LogEntry:
    """Return the entry that `envelope(number)` has."""
    return LogEntry(
        kind="measure", sha256=sha256_bytes(envelope(number)), serial=f"{number:032x}", logged_at=AT
    )


def seconds(do: Callable[[], object], times: int) -> float:
    """Return the median time of doing something."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        do()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def main() -> int:
    """Measure, and print one JSON line a claim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the log is made; by default a temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        folder = Path(made) / "log"
        key = generate_key(Path(made) / "log.pem", "log", "example.com/measure")
        create_log(folder, "example.com/measure")
        with LogFolder(folder, write=True) as log:
            started = time.perf_counter()
            for number in range(300):
                log.append([entry(number)])
            alone = 300 / (time.perf_counter() - started)
            entries = [entry(number) for number in range(300, given.entries)]
            started = time.perf_counter()
            for at in range(0, len(entries), 1000):
                log.append(entries[at : at + 1000])
            together = len(entries) / (time.perf_counter() - started)
        signing_s = seconds(lambda: log_checkpoint(folder, key), 3)
        command_s = seconds(lambda: log_envelope(folder, envelope(given.entries + 1), now=AT), 5)
        asked = envelope(given.entries // 3)
        proving_s = seconds(lambda: prove_logged(folder, asked), 5)
        proof = prove_logged(folder, asked)
        size_bytes = len(proof.to_json())
        leaf, path = leaf_hash(proof.leaf.encode()), [bytes.fromhex(p) for p in proof.path]
        with LogFolder(folder) as log:
            root = log.root(given.entries)
            tree_s = seconds(lambda: log.inclusion(given.entries // 3, given.entries), 200)
        assert is_included(leaf, proof.index, given.entries, path, root)
        checking_s = seconds(lambda: is_included(leaf, proof.index, given.entries, path, root), 1000)
    said: dict[str, Any] = {"versions": {"machine": machine()}, "n": given.entries}
    lines = (
        claim("entries a second, each synced alone", alone, 50, least=True, **(said | {"n": 300})),
        claim("entries a second, a thousand at once", together, 5000, least=True, **said),
        claim("seconds to append one by the command's function", command_s, 2, least=False, **said),
        claim("seconds to sign a checkpoint, every entry read", signing_s, 30, least=False, **said),
        claim("milliseconds to make an inclusion path", tree_s * 1e3, 10, least=False, **said),
        claim("seconds to find an entry and prove it", proving_s, 2, least=False, **said),
        claim("milliseconds to check an inclusion path", checking_s * 1e3, 1, least=False, **said),
        claim("bytes of a proof", size_bytes, 5000, least=False, **said),
    )
    return 0 if all(line["met"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
