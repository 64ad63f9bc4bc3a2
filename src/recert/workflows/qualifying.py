"""A base's qualification, made once under a policy and kept: signed by the evaluator, or made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from recert.certification import SigningKey, TrustStore
from recert.certification.signing.links import read_link, read_links, why_not_link_of, write_link
from recert.digest import sha256_json
from recert.errors import RecertError
from recert.evaluation.qualifying import PROMPTS_EACH, qualify
from recert.models.protocol import Model
from recert.policy import Policy
from recert.progress import Progress, Silent
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Suite
from recert.records.record import now
from recert.records.reports.qualification import Qualification
from recert.store.cache import GenerationCache
from recert.store.files.writing import read_bytes, write_atomic

QUALIFICATION_FILE: Final = "qualification.json"


def qualify_once(
    base_dir: Path,
    folder: Path,
    *,
    policy: Policy,
    suites: Mapping[str, Suite],
    open_base: Callable[[Path], Model],
    signer: SigningKey,
    cache: GenerationCache,
    progress: Progress | None = None,
) -> Qualification | None:
    """
    Qualify a base that this evaluator has not qualified under this policy and these suites; None where it has.

    Args:
        base_dir: the base.
        folder: where qualifications are kept, each in a folder of its own.
        policy, suites: the rules and their prompts.
        open_base: loads the base, where it is needed.
        signer: the evaluator; a qualification that somebody else signed, or nobody, does not count.
        cache: where replies are kept.
        progress: told of each batch.

    Raises:
        RecertError: as `qualify`, or what was found cannot be written.
    """
    tell = progress or Silent()
    base = Manifest.of_folder(base_dir)
    digests = {name: suite.digest for name, suite in sorted(suites.items())}
    place = folder / sha256_json([base.digest, policy.digest, digests]) / QUALIFICATION_FILE
    before = read_qualification(place, signer)
    if before is not None and (before.base, before.policy_sha256, before.suites) == (
        base,
        policy.digest,
        digests,
    ):
        return None
    tell.start("qualify the base, once under this policy")
    found = qualify(
        open_base(base_dir),
        policy=policy,
        suites=suites,
        cache=cache,
        prompts_each=PROMPTS_EACH,
        progress=tell,
    )
    write_qualification(place, found, signer)
    tell.say(in_one_line(found))
    return found


def in_one_line(found: Qualification) -> str:
    """Return what a user reads of a qualification in one line."""
    lost = [track for track in found.tracks if track.signal == "no-signal"]
    ready = sum(track.signal == "signal" for track in found.tracks)
    where = sorted({f"{track.rule_id} under {track.condition}" for track in lost})
    stated = ", which a certificate will state" if found.limitations and found.decidable else ""
    named = f"; the base already fails {', '.join(where)}{stated}" if where else ""
    return f"base qualified: {ready} of {len(found.tracks)} rules can be decided on it{named}"


def write_qualification(path: Path, found: Qualification, signer: SigningKey | None) -> None:
    """
    Write a qualification, and the link of who made it beside it.

    Raises:
        StoreError: the folder cannot be written.
        SigningKeyError: the key is for another role.
    """
    write_atomic(path, found.to_json())
    write_link(path, found, signer)


def read_qualification(path: Path, signer: SigningKey) -> Qualification | None:
    """Return the qualification in a file, where this evaluator signed for it; None where not, or it cannot be read."""
    try:
        found = Qualification.from_json(read_bytes(path))
        envelope = read_links({"qualify": path})["qualify"]
        link = read_link(envelope, step="qualify", trust=TrustStore([signer.public]), now=now())
    except (KeyError, RecertError):
        return None
    return None if why_not_link_of(link, found) else found
