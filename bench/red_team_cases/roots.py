"""The root of trust: set back, forked, unsigned, signed by too few, with versions missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from recert.certification import TrustStore
from recert.certification.signing.envelope import Envelope
from recert.certification.trust.root_chain import read_chain
from recert.certification.trust.root_change import begin_root, change_root
from recert.certification.trust.root_edits import add_keys, drop_keys
from recert.records.record import now
from recert.records.signed.trust_root import ROOT_PAYLOAD_TYPE, TrustRoot
from red_team_cases.attacks import Answer, Way, attack
from red_team_cases.desks import Desk, answer_of, make_key

KIND, BY = "roots", "status server"


def _root(desk: Desk) -> None:
    """A root of trust of two people out of two, in its third version, all of which the verifier has seen."""
    folder = desk.folder / "trust"
    people = [make_key("root", "Rosa"), make_key("root", "Rolf")]
    others = [key.public for key in desk.keys.values()]
    begin_root(
        folder, [k.public for k in people], 2, others, signers=people, expires_at=now() + timedelta(days=90),
        now=now(), status_list_id=desk.list_id(),
    )  # fmt: skip
    desk.kept |= {"people": people, "folder": folder}
    shutil.copytree(folder, desk.folder / "trust-1")
    _change(desk, lambda root: add_keys(root, [make_key("watcher", "a new watcher").public]))
    shutil.copytree(folder, desk.folder / "trust-2")
    _change(desk, lambda root: add_keys(root, [make_key("screener", "a new screener").public]))


def _change(desk: Desk, edit: Callable[[TrustRoot], TrustRoot], signers: int = 2) -> None:
    folder, people = desk.kept["folder"], desk.kept["people"]
    change_root(folder, edit, signers=people[:signers], now=now())


def _ask(desk: Desk) -> Answer:
    def ask() -> None:
        desk.trust = TrustStore.load(desk.kept["folder"])

    loaded = answer_of(ask)
    return desk.read() if loaded.yes else loaded


def _root_seen(desk: Desk) -> None:
    _root(desk)
    assert _ask(desk).yes


ROOTED = Way("it holds by a root of trust that two people sign", _root, _ask, ("sql",))
SEEN = Way("it holds by a root of trust that was seen before", _root_seen, _ask, ("sql",))


def _put(desk: Desk, folder: str) -> None:
    shutil.rmtree(desk.kept["folder"])
    shutil.copytree(desk.folder / folder, desk.kept["folder"])


@attack(KIND, SEEN, "the first version is put back", by=BY, finding=8, stopped_by="root-rollback")
def set_back_to_the_first(desk: Desk) -> None:
    _put(desk, "trust-1")


@attack(KIND, SEEN, "the version before is put back", by=BY, finding=8, stopped_by="root-rollback")
def set_back_by_one(desk: Desk) -> None:
    _put(desk, "trust-2")


@attack(
    KIND,
    SEEN,
    "an approver that was revoked approves by the version before",
    by=BY,
    finding=8,
    stopped_by="root-rollback",
)
def revoked_approver_by_an_old_root(desk: Desk) -> None:
    shutil.copytree(desk.kept["folder"], desk.folder / "trust-3")
    _change(desk, lambda root: drop_keys(root, [desk.keys["approver"].key_id], revoked_at=now()))
    assert not _ask(desk).yes
    _put(desk, "trust-3")


@attack(KIND, SEEN, "two third versions are both in force", by=BY, finding=8, stopped_by="root-equivocation")
def forked(desk: Desk) -> None:
    _put(desk, "trust-2")
    _change(desk, lambda root: add_keys(root, [make_key("approver", "an approver of the fork").public]))


@attack(
    KIND,
    SEEN,
    "an approver that was revoked approves",
    by="one signer",
    finding=8,
    stopped_by="untrusted-key",
)
def revoked_approver(desk: Desk) -> None:
    _change(desk, lambda root: drop_keys(root, [desk.keys["approver"].key_id], revoked_at=now()))


@attack(
    KIND, SEEN, "a trainer that was revoked trained it", by="tuner", finding=8, stopped_by="untrusted-key"
)
def revoked_trainer(desk: Desk) -> None:
    _change(desk, lambda root: drop_keys(root, [desk.keys["trainer"].key_id], revoked_at=now()))


def _stranger(desk: Desk) -> Any:
    """Somebody whose approval only a changed root can make count."""
    key = make_key("approver", "Mallory")
    said = desk.certificate
    approvals = (
        said.approvals[0],
        said.approvals[1].model_copy(update={"key_id": key.key_id, "name": "Mallory"}),
    )
    desk.forge("evaluator", approvals=approvals)
    desk.envelope = Envelope.from_json(desk.envelope).signed_by(key).to_json()
    return key.public


@attack(
    KIND,
    ROOTED,
    "a version that waits for signatures counts",
    by="tuner",
    finding=8,
    stopped_by="untrusted-key",
)
def waiting_version(desk: Desk) -> None:
    public = _stranger(desk)
    _change(desk, lambda root: add_keys(root, [public]), signers=1)


@attack(
    KIND,
    ROOTED,
    "a version that waits is put in the place of the one in force",
    by="tuner",
    finding=8,
    stopped_by="root-unsigned root-unlinked",
)
def waiting_version_in_place(desk: Desk) -> None:
    public = _stranger(desk)
    _change(desk, lambda root: add_keys(root, [public]), signers=1)
    folder = desk.kept["folder"]
    (folder / "root.json").rename(folder / "3.root.json")
    (folder / "root.pending.json").rename(folder / "root.json")


@attack(KIND, ROOTED, "a key is put beside the root", by="tuner", finding=8, stopped_by="untrusted-key")
def key_beside_the_root(desk: Desk) -> None:
    public = _stranger(desk)
    (desk.kept["folder"] / "mallory.pub").write_bytes(public.to_json())


@attack(
    KIND,
    ROOTED,
    "a key is written into the root",
    by="tuner",
    finding=8,
    stopped_by="root-unsigned root-malformed root-unlinked",
)
def key_written_into_the_root(desk: Desk) -> None:
    public = _stranger(desk)
    path = desk.kept["folder"] / "root.json"
    opened = Envelope.from_json(path.read_bytes())
    changed = add_keys(TrustRoot.from_json(opened.payload), [public])
    path.write_bytes(Envelope(ROOT_PAYLOAD_TYPE, changed.to_json(), opened.signatures).to_json())


def _signed(desk: Desk, root: TrustRoot, signers: list[Any], version: int) -> None:
    folder = desk.kept["folder"]
    envelope = Envelope(ROOT_PAYLOAD_TYPE, root.to_json(), ())
    for key in signers:
        envelope = envelope.signed_by(key)
    before = folder / "root.json"
    before.rename(folder / f"{version - 1}.root.json")
    before.write_bytes(envelope.to_json())


def _next(desk: Desk, **changes: Any) -> TrustRoot:
    before = read_chain(desk.kept["folder"])[-1]
    update = {"version": before.root.version + 1, "previous_sha256": before.sha256, **changes}
    return TrustRoot.model_validate(before.root.model_copy(update=update).model_dump())


@attack(
    KIND,
    ROOTED,
    "one of two people signs the next version",
    by="one signer",
    finding=8,
    stopped_by="root-unsigned",
)
def threshold_by_one_person(desk: Desk) -> None:
    public = _stranger(desk)
    _signed(desk, add_keys(_next(desk), [public]), desk.kept["people"][:1], 4)


@attack(
    KIND,
    ROOTED,
    "one of two people signs twice",
    by="one signer",
    finding=8,
    stopped_by="root-unsigned root-malformed",
)
def one_person_twice(desk: Desk) -> None:
    public = _stranger(desk)
    _signed(desk, add_keys(_next(desk), [public]), desk.kept["people"][:1], 4)
    path = desk.kept["folder"] / "root.json"
    said = json.loads(path.read_bytes())
    said["signatures"] *= 2
    path.write_text(json.dumps(said))


@attack(
    KIND,
    ROOTED,
    "root keys of the next version sign it, and those of the one before do not",
    by="tuner",
    finding=8,
    stopped_by="root-unsigned",
)
def usurped(desk: Desk) -> None:
    public = _stranger(desk)
    from recert.certification.trust.root_edits import rotate_keys

    mine = [make_key("root", "Mallory"), make_key("root", "Mallory's friend")]
    root = rotate_keys(add_keys(_next(desk), [public]), [k.public for k in mine], None)
    _signed(desk, root, mine, 4)


@attack(
    KIND,
    ROOTED,
    "the threshold falls to one with one signature",
    by="one signer",
    finding=8,
    stopped_by="root-unsigned",
)
def threshold_lowered(desk: Desk) -> None:
    public = _stranger(desk)
    _signed(desk, add_keys(_next(desk, root_threshold=1), [public]), desk.kept["people"][:1], 4)


@attack(KIND, ROOTED, "one person holds both root keys", by="one signer", finding=8)
def one_person_with_two_root_keys(desk: Desk) -> Answer:
    people = [make_key("root", "Rosa"), make_key("root", "ROSA ")]
    return answer_of(
        lambda: begin_root(
            desk.folder / "mine", [k.public for k in people], 2, [k.public for k in desk.keys.values()],
            signers=people, expires_at=now() + timedelta(days=90), now=now(), status_list_id=None,
        )
    )  # fmt: skip


@attack(
    KIND, ROOTED, "versions between are missing", by=BY, finding=8, stopped_by="root-missing root-unlinked"
)
def version_missing(desk: Desk) -> None:
    (desk.kept["folder"] / "2.root.json").unlink()


@attack(
    KIND, ROOTED, "the first version is missing", by=BY, finding=8, stopped_by="root-missing root-unlinked"
)
def first_version_missing(desk: Desk) -> None:
    (desk.kept["folder"] / "1.root.json").unlink()


@attack(
    KIND,
    ROOTED,
    "a version is skipped",
    by="colluders",
    finding=8,
    stopped_by="root-unlinked root-missing root-malformed",
)
def version_skipped(desk: Desk) -> None:
    root = _next(desk, version=9)
    _signed(desk, root, desk.kept["people"], 9)


@attack(
    KIND,
    ROOTED,
    "a version names another one before it",
    by="colluders",
    finding=8,
    stopped_by="root-unlinked",
)
def other_version_before(desk: Desk) -> None:
    _signed(desk, _next(desk, previous_sha256="ab" * 32), desk.kept["people"], 4)


@attack(
    KIND,
    ROOTED,
    "the root of another group stands behind the first version",
    by="colluders",
    finding=8,
    stopped_by="root-unlinked",
)
def other_root_id(desk: Desk) -> None:
    _signed(desk, _next(desk, root_id="ab" * 16), desk.kept["people"], 4)


@attack(KIND, ROOTED, "the root has ended", by=BY, finding=8, stopped_by="root-expired")
def root_ended(desk: Desk) -> None:
    desk.now = now() + timedelta(days=100)


@attack(KIND, ROOTED, "the root is of next year", by=BY, finding=8, stopped_by="clock-behind")
def root_of_the_future(desk: Desk) -> None:
    at = now()
    _signed(
        desk,
        _next(desk, issued_at=at + timedelta(days=300), expires_at=at + timedelta(days=400)),
        desk.kept["people"],
        4,
    )


@attack(
    KIND,
    ROOTED,
    "the root names another status list than the certificate",
    by="colluders",
    finding=3,
    stopped_by="status-other-list",
)
def root_names_another_list(desk: Desk) -> None:
    _signed(desk, _next(desk, status_list_id="ab" * 16), desk.kept["people"], 4)


@attack(
    KIND, ROOTED, "the root's file is gone, and folders of keys are trusted instead", by="tuner", finding=8
)
def root_gone(desk: Desk) -> None:
    folder: Path = desk.kept["folder"]
    (folder / "root.json").unlink()
    public = _stranger(desk)
    (folder / "mallory.pub").write_bytes(public.to_json())
    for role in ("evaluator", "trainer", "status", "screener"):
        shutil.copy2(desk.folder / "keys" / f"{role}.pub", folder)


@attack(KIND, ROOTED, "a bit of the root is flipped", by=BY, finding=8)
def bits_of_the_root(desk: Desk) -> Iterator[str]:
    path = desk.kept["folder"] / "root.json"
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        yield f"byte {at}"
