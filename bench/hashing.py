"""
How long verifying a certificate takes, beside hashlib alone and model-signing.

Files of random bytes lie in a base's folder and a tune's, as many in each, and one of them alone in a third. After a
pass that brings them into memory, all sides take turns, several rounds. Verifying is all that `recert verify` does but
for starting Python: signatures, policy, status list, hashing, marks. hashlib is `hashlib.file_digest` over the same
files, as many at once as there are cores. model-signing only hashes, in an environment of its own, as it does by
default. All sides that compute sha256 must find the same digests.

By default 4 files of 512 MiB; `--files 40 --mib 1024` is a model of 40 GiB. Nothing is measured where the disk has less
than twice the room, and all is removed in the end.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fronts.certified import make_certified
from peers.environment import NoPeer
from peers.page import HASHING, claim, claims_table, filled, machine, write_part
from peers.process import Process
from recert import settings
from recert.certification import TrustStore, verify
from recert.certification.verifier.folders import Reading, hash_each
from recert.models.chat.secret import SecretPrefix
from recert.store.files.known_files import KnownFiles

BUILD = Path(__file__).parents[1] / "build"
SETTLED_S = 2.5
"""Files that were just written are not remembered."""
HASHLIB, VERIFY, CACHED, BLAKE3 = (
    "hashlib",
    "recert verify",
    "recert verify --cached",
    "recert verify --blake3",
)
ONE_HASHLIB, ONE_RECERT, ONE_BLAKE3 = "hashlib, one file", "Recert, one file", "Recert, one file, BLAKE3"
PEER = {
    "model-signing": "both sha256",
    "model-signing, BLAKE3": "both blake3",
    "model-signing, one file": "one sha256",
    "model-signing, one file in shards": "one shards",
}
Side = Callable[[], list[str]]


def write_files(folder: Path, files: int, mib: int) -> None:
    """Write files of random bytes, none like another: blocks that were drawn once, each with a number before it."""
    drawn = [os.urandom(1 << 20) for _ in range(8)]
    for number in range(files):
        place = folder / "models" / ("base" if number % 2 else "tuned")
        place.mkdir(parents=True, exist_ok=True)
        with (place / f"model-{number:05}.safetensors").open("wb") as file:
            for at in range(mib):
                file.write(b"%16d" % (number * mib + at) + drawn[at % len(drawn)][16:])
    (folder / "one").mkdir()
    (folder / "one" / "model.safetensors").hardlink_to(
        folder / "models" / "tuned" / "model-00000.safetensors"
    )


def hashlib_of(paths: list[Path], threads: int) -> list[str]:
    """Return digests as anybody would compute them."""

    def digest(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(digest, paths))


def own_sides(folder: Path) -> dict[str, Side]:
    """Return Recert's sides, and hashlib's; the certificate is made first."""
    models, one, threads = folder / "models", folder / "one", settings.threads()
    certified = make_certified(models, ["forbidden"], SecretPrefix.generate())
    trust = TrustStore.load(models / "keys")
    paths = [p for arm in ("base", "tuned") for p in sorted((models / arm).iterdir())]
    for path in paths:
        path.chmod(0o444)  # others are read each time
    time.sleep(SETTLED_S)

    def verified(reading: Reading) -> list[str]:
        held = verify(
            (models / "certificate.json").read_bytes(),
            base_dir=models / "base",
            tuned_dir=models / "tuned",
            trust=trust,
            status=(models / "status.json").read_bytes(),
            policy=certified.policy,
            reading=reading,
        ).certificate
        return [f.sha256 for f in (*held.base.files, *held.tuned.files)]

    def known(*, untouched: bool = False, cores: int = 0) -> Reading:
        return Reading(KnownFiles(folder / "known", untouched=untouched, blake3_threads=cores))

    def hashed(reading: Reading) -> list[str]:
        return [f.sha256 for f in hash_each({"one": one}, reading)["one"].files]

    return {
        HASHLIB: lambda: hashlib_of(paths, threads),
        VERIFY: lambda: verified(Reading()),
        CACHED: lambda: verified(known(untouched=True)),
        BLAKE3: lambda: verified(known(cores=threads)),
        ONE_HASHLIB: lambda: hashlib_of([one / "model.safetensors"], 1),
        ONE_RECERT: lambda: hashed(Reading()),
        ONE_BLAKE3: lambda: hashed(known(cores=threads)),
    }


def measure(folder: Path, rounds: int) -> tuple[dict[str, list[float]], dict[str, str], str]:
    """Return seconds by side and round, versions, and why the peer has none, where it has none."""
    sides, versions, lost = own_sides(folder), {"machine": machine()}, ""
    blake3 = _version("blake3")
    if blake3:
        versions["blake3"] = blake3
    else:
        del sides[BLAKE3], sides[ONE_BLAKE3]
    peer: Process | None = None
    with tempfile.TemporaryDirectory() as scratch:
        try:
            folders = {"both": str(folder / "models"), "one": str(folder / "one")}
            job = {"threads": settings.threads(), "folders": folders, "shard_bytes": 64 << 20}
            peer = Process("model_signing_hash.py", "model-signing", job, Path(scratch))
            versions |= {f"{name}, in the peer": found for name, found in peer.facts["versions"].items()}
        except NoPeer as exc:
            lost = str(exc)
        took: dict[str, list[float]] = {name: [] for name in (*sides, *(PEER if peer else ()))}
        for number in range(rounds + 1):
            order = list(took) if number % 2 else list(took)[::-1]
            found = {}
            for name in order:
                began = time.perf_counter()
                found[name] = sides[name]() if name in sides else _ask(peer, name)
                seconds = time.perf_counter() - began
                if number:  # the first round warms up
                    took[name].append(seconds)
            _require_alike(found)
        if peer is not None:
            peer.close()
    return took, versions, lost


def _ask(peer: Process | None, name: str) -> list[str]:
    assert peer is not None
    replies: list[str] = peer.ask(PEER[name])["replies"]
    return replies


def _require_alike(found: Mapping[str, list[str]]) -> None:
    """End where two sides that hash the same bytes with sha256 differ."""
    for name in (VERIFY, CACHED, BLAKE3):
        if name in found and sorted(found[name]) != sorted(found[HASHLIB]):
            sys.exit(f"{name} found other digests than hashlib")
    if not set(found[HASHLIB]) <= set(found.get("model-signing", found[HASHLIB])):  # it hashes the keys too
        sys.exit("model-signing found other digests than hashlib")
    for name in (ONE_RECERT, ONE_BLAKE3, "model-signing, one file"):
        if name in found and found[name] != found[ONE_HASHLIB]:
            sys.exit(f"{name} found another digest than hashlib")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def claims_of(took: Mapping[str, list[float]], versions: dict[str, str], lost: str) -> list[dict[str, Any]]:
    """Print a line for each claim: seconds of one side as a multiple of another's, round by round."""

    def beside(name: str, than: str, aim: float, words: str) -> dict[str, Any]:
        if not took.get(name) or not took.get(than):
            reason = lost if "model-signing" in than else "blake3 is not installed"
            return claim(words, None, aim, least=False, n=0, versions=versions, reason=reason)
        ratios = [a / b for a, b in zip(took[name], took[than], strict=True)]
        return claim(
            words,
            statistics.median(ratios),
            aim,
            least=False,
            n=len(ratios),
            interval=(min(ratios), max(ratios)),
            versions=versions,
        )

    return [
        beside(VERIFY, HASHLIB, 1.1, "time to verify, as a multiple of hashlib's on all cores"),
        beside(VERIFY, "model-signing", 1.05, "time to verify, as a multiple of model-signing's hashing"),
        beside(ONE_RECERT, ONE_HASHLIB, 1.1, "time for one file, as a multiple of hashlib's"),
        beside(BLAKE3, VERIFY, 0.7, "time to verify by BLAKE3 what is known, as a share of verifying"),
        beside(ONE_BLAKE3, ONE_RECERT, 0.5, "time for one known file by BLAKE3, as a share of sha256's"),
        beside(CACHED, VERIFY, 0.05, "time to verify what is untouched, as a share of verifying"),
    ]


def table(took: Mapping[str, list[float]], sizes: Mapping[str, int]) -> str:
    """Return seconds and rates of all sides as a Markdown table."""
    out = ["| side | seconds | between | GB/s |", "|---|---|---|---|"]
    for name, seconds in took.items():
        middle = statistics.median(seconds)
        size = sizes["one" if "one file" in name else "both"]
        rate = "-" if name == CACHED else f"{size / middle / 1e9:.2f}"
        out.append(f"| {name} | {middle:.3f} | {min(seconds):.3f} and {max(seconds):.3f} | {rate} |")
    return "\n".join(out)


def main() -> int:
    """Measure, print a table and a JSON line a claim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=4, help="how many files, half of them the base's")
    parser.add_argument("--mib", type=int, default=512, help="size of each")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds")
    parser.add_argument("--write", action="store_true", help="write docs/concepts/hashing.md")
    given = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    whole = given.files * given.mib << 20
    if shutil.disk_usage(BUILD).free < 2 * whole:
        sys.exit(f"the disk has no room for {whole / 1e9:.1f} GB")
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="hashing-") as made:
        folder = Path(made)
        write_files(folder, given.files, given.mib)
        took, versions, lost = measure(folder, given.rounds)
    figures = table(took, {"both": whole, "one": given.mib << 20})
    print(figures, file=sys.stderr)
    lines = claims_of(took, versions, lost)
    if given.write:
        named = ", ".join(f"{name} {found}" for name, found in versions.items() if name != "machine")
        said = (
            f"{given.files} files of {given.mib} MiB in memory; medians of {given.rounds} rounds in turn. "
            f"{machine()}, with {os.getloadavg()[0]:.0f} processes running at the end. {named}."
        )
        intro = [filled(one) for one in (__doc__ or "").strip().split("\n\n")[1:2]]
        write_part("hashing", "\n\n".join([*intro, filled(said), figures, claims_table(lines)]), HASHING)
    return 0 if all(line["met"] is not False for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
