"""The root of trust: a chain of versions, each signed by enough people of the one before and of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from builders import NOW
from recert.certification import SigningKey, TrustStore, generate_key
from recert.certification.signing.envelope import Envelope, Signature, pae
from recert.certification.trust.root_chain import SignedRoot
from recert.certification.trust.root_edits import root_key
from recert.certification.trust.store import misnamed, note_root, require_newest, same_person, unsafe_words
from recert.digest import canonical_json
from recert.errors import RecordError, SigningKeyError, VerificationError
from recert.records.signed.certificate import Approval
from recert.records.signed.transparency import VerifierMemory
from recert.records.signed.trust_root import TrustRoot
from trust_roots import make_key, make_root, next_root, signed_root, write_chain

LATER = NOW + timedelta(days=1)


@dataclass(frozen=True)
class Keys:
    """Everybody's keys: three people hold root keys, one of them two."""

    ada: SigningKey
    ada_too: SigningKey
    ben: SigningKey
    cleo: SigningKey
    eve: SigningKey
    pia: SigningKey

    @property
    def roots(self) -> list[SigningKey]:
        """The root keys."""
        return [self.ada, self.ada_too, self.ben, self.cleo]


@pytest.fixture(scope="module")
def keys() -> Keys:
    """Keys for all tests of this file."""
    return Keys(
        ada=make_key("root", "Ada"),
        ada_too=make_key("root", "Ada"),
        ben=make_key("root", "Ben"),
        cleo=make_key("root", "Cleo"),
        eve=make_key("evaluator", "Eve"),
        pia=make_key("approver", "Pia"),
    )


@pytest.fixture(scope="module")
def chain(keys: Keys) -> list[SignedRoot]:
    """
    Three versions: Ada and Ben sign the first; the second trusts Pia too; the third is of Ben and Cleo alone.
    """
    first = signed_root(make_root(keys.roots, [keys.eve], root_threshold=2), [keys.ada, keys.ben])
    more = (*first.root.keys, root_key(keys.pia.public))
    second = signed_root(next_root(first, keys=more, issued_at=NOW), [keys.ada_too, keys.cleo])
    fewer = tuple(key for key in more if key.name != "Ada")
    roots = (keys.ben.key_id, keys.cleo.key_id)
    third = signed_root(next_root(second, keys=fewer, root_key_ids=roots), [keys.ben, keys.cleo])
    return [first, second, third]


def refusal(path: Path) -> str:
    """Return the reason why a root is refused."""
    with pytest.raises(VerificationError) as caught:
        TrustStore.load(path)
    return caught.value.reason


def refused(folder: Path, chain: Sequence[SignedRoot]) -> str:
    """Return the reason why versions are refused."""
    shutil.rmtree(folder, ignore_errors=True)
    return refusal(write_chain(folder, chain))


def changed(root: TrustRoot, **changes: Any) -> TrustRoot:
    """Return a version with changes, which is still one."""
    return TrustRoot.from_json(root.model_copy(update=changes).to_json())


def test_a_root_says_who_is_trusted_as_what(tmp_path, keys, chain):
    """
    A folder with `root.json` and the file itself give its keys; `.pub` files beside it say nothing.
    """
    write_chain(tmp_path / "trust", chain)
    stranger = generate_key(tmp_path / "trust" / "eve2.pem", "evaluator", "Eve").public
    for path in (tmp_path / "trust", tmp_path / "trust" / "root.json"):
        trust = TrustStore.load(path)

        assert trust.find(keys.pia.key_id, now=NOW) == keys.pia.public
        assert trust.holders("evaluator", now=NOW) == [keys.eve.public]
        assert trust.known(stranger.key_id) is None
        assert trust.find(keys.ada.key_id, now=NOW) is None
        assert (trust.unsafe, unsafe_words(trust)) == (False, "")
        assert trust.root.model_dump() == {
            "root_id": chain[0].root.root_id,
            "version": 3,
            "sha256": chain[2].sha256,
        }


def test_a_store_without_a_root_is_unsafe_and_says_so(tmp_path, keys):
    """
    A folder of `.pub` files, one, a list of keys, and keys in memory: each unsafe, with the way out.
    """
    generate_key(tmp_path / "eve.pem", "evaluator", "Eve")
    for trust in (
        TrustStore.load(tmp_path),
        TrustStore.load(tmp_path / "eve.pub"),
        TrustStore([keys.eve.public]),
    ):
        assert (trust.unsafe, trust.root, trust.status_list_id) == (True, None, None)
        assert "recert trust init" in unsafe_words(trust)
        assert require_newest(trust, VerifierMemory(), now=NOW) == VerifierMemory()


@pytest.mark.parametrize("left", ["root.pending.json", "1.root.json", "root.json"])
def test_pub_files_never_take_the_place_of_a_root(tmp_path, chain, left):
    """
    Where a root was taken away, cannot be read or waits for signatures, the keys beside it do not count.
    """
    generate_key(tmp_path / "eve.pem", "evaluator", "Eve")
    if left == "root.json":
        (tmp_path / left).symlink_to(tmp_path / "nowhere")
    else:
        (tmp_path / left).write_bytes(chain[0].envelope.to_json())

    assert refusal(tmp_path) == "root-missing"


def test_a_version_without_the_ones_before_is_refused(tmp_path, chain):
    """
    The chain is walked from the first: without one of them, or with another in its place, there is no answer.
    """
    write_chain(tmp_path, chain)
    (tmp_path / "1.root.json").write_bytes(chain[1].envelope.to_json())
    assert refusal(tmp_path) == "root-unlinked"
    (tmp_path / "1.root.json").unlink()
    assert refusal(tmp_path) == "root-missing"
    assert refused(tmp_path, [chain[0], chain[2]]) == "root-missing"


@pytest.mark.parametrize(
    ("who", "counts"),
    [
        (["ada"], False),
        (["ada", "ada_too"], False),
        (["eve", "pia", "ada"], False),
        ([], False),
        (["ada", "ben"], True),
        (["ada_too", "cleo", "eve"], True),
    ],
)
def test_a_version_needs_a_threshold_of_people(tmp_path, keys, who, counts):
    """
    Two people must have signed: two keys of one person are one, and other keys count for nothing.
    """
    root = make_root(keys.roots, [keys.eve, keys.pia], root_threshold=2)
    signed = signed_root(root, [getattr(keys, name) for name in who] or [keys.eve])
    write_chain(tmp_path, [signed])

    if counts:
        assert TrustStore.load(tmp_path).find(keys.eve.key_id, now=NOW)
    else:
        assert refusal(tmp_path) == "root-unsigned"


def test_names_that_look_alike_are_one_person(tmp_path, keys):
    """
    Case, width, spaces between, marks that are not printed and letters of other scripts make nobody another person.
    """
    for name in ("ADA", "Ａda", "a\u0064A", "\u0410d\u0430", "\u0391da"):
        other = make_key("root", name)
        with pytest.raises(RecordError, match="TrustRoot"):
            make_root([keys.ada, other], root_threshold=2)
    trust = TrustStore(
        [make_key("approver", name).public for name in ("Ada L", "ada  l", "ADA\u200b L", "Bo", "")]
    )
    people = [trust.person(key_id) for key_id in trust._keys]

    assert people[:4] == ["Ada L"] * 3 + ["Bo"]
    assert people[4] in trust._keys
    assert trust.person("0" * 64) == "0" * 64


@pytest.mark.slow
@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_change_of_a_chain_counts_that_both_thresholds_did_not_sign(tmp_path, keys, chain, data):
    """
    Whatever is changed of a version and whoever signs it: the chain is refused unless enough people of the version
    before and of its own signed. With them it is taken.
    """
    at = data.draw(st.integers(0, 2))
    stranger = make_key("root", "Mallory")
    was = chain[at].root
    everybody = [*keys.roots, keys.eve, keys.pia, stranger]
    who = data.draw(st.lists(st.sampled_from(everybody), unique_by=lambda key: key.key_id, min_size=1))
    held = (*was.keys, root_key(stranger.public))
    change = data.draw(
        st.sampled_from(
            [
                {"expires_at": was.expires_at + timedelta(days=9)},
                {"status_list_id": "ab" * 16},
                {"keys": held},
                {"keys": held, "root_key_ids": (stranger.key_id,), "root_threshold": 1},
                {"keys": held, "root_key_ids": (*was.root_key_ids, stranger.key_id)},
                {"root_threshold": 1},
                {"keys": tuple(k.model_copy(update={"roles": (*k.roles, "status")}) for k in was.keys)},
            ]
        )
    )
    forged = signed_root(changed(was, **change), who)
    before = chain[at - 1] if at else forged
    enough = all(len(forged.signers(by.root)) >= by.root.root_threshold for by in (before, forged))
    shutil.rmtree(tmp_path / "trust", ignore_errors=True)
    folder = write_chain(tmp_path / "trust", [*chain[:at], forged])

    if enough:
        assert TrustStore.load(folder).root.sha256 == forged.sha256
    else:
        assert refusal(folder) == "root-unsigned"
    if at < 2:  # and the versions after it name the one that was signed
        assert refused(tmp_path / "trust", [*chain[:at], forged, *chain[at + 1 :]]) in (
            "root-unsigned",
            "root-unlinked",
        )


@pytest.mark.slow
@given(which=st.integers(0, 2), at=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_flipped_bit_never_changes_what_a_root_says(tmp_path, chain, which, at, bit):
    """
    A damaged version is refused, or the root says exactly what it said.
    """
    folder = write_chain(tmp_path / "trust", chain)
    said = TrustStore.load(folder)
    file = folder / ("root.json" if which == 2 else f"{which + 1}.root.json")
    damaged = bytearray(file.read_bytes())
    damaged[at % len(damaged)] ^= 1 << bit
    file.write_bytes(damaged)

    try:
        trust = TrustStore.load(folder)
    except VerificationError:
        return
    assert (trust.digest, trust.root) == (said.digest, said.root)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 4}, "root-missing"),
        ({"root_id": "f" * 32}, "root-unlinked"),
        ({"previous_sha256": "0" * 64}, "root-unlinked"),
        ({"issued_at": NOW - timedelta(days=9)}, "root-unlinked"),
    ],
)
def test_versions_follow_from_each_other(tmp_path, keys, chain, changes, reason):
    """
    A version that skips one, is of another root, goes on from another version or is older is refused, though signed.
    """
    signed = signed_root(changed(chain[2].root, **changes), keys.roots)

    assert refused(tmp_path, [*chain[:2], signed]) == reason


def test_rotation_needs_the_old_root_keys_and_the_new(tmp_path, keys):
    """
    New root keys count once a threshold of the former ones and one of their own signed; then the former ones do not.
    """
    new = make_key("root", "Nora")
    first = signed_root(make_root([keys.ada]), [keys.ada])
    root = next_root(first, keys=(root_key(new.public),), root_key_ids=(new.key_id,))
    third = next_root(signed_root(root, [keys.ada, new]), expires_at=NOW + timedelta(days=400))

    assert refused(tmp_path, [first, signed_root(root, [keys.ada])]) == "root-unsigned"
    assert refused(tmp_path, [first, signed_root(root, [new])]) == "root-unsigned"
    both = signed_root(root, [keys.ada, new])
    assert TrustStore.load(write_chain(tmp_path, [first, both])).root.version == 2
    assert refused(tmp_path, [first, both, signed_root(third, [keys.ada])]) == "root-unsigned"
    shutil.rmtree(tmp_path)
    assert TrustStore.load(write_chain(tmp_path, [first, both, signed_root(third, [new])])).root.version == 3


def test_a_revoked_key_counts_for_nothing_and_stays_known(tmp_path, keys, chain):
    """
    Nothing that it ever signed counts, at whatever time; what makes an answer stricter still knows it. It is for good.
    """
    revoked = tuple(
        key.model_copy(update={"revoked_at": NOW}) if key.key_id == keys.eve.key_id else key
        for key in chain[2].root.keys
    )
    fourth = signed_root(next_root(chain[2], keys=revoked), [keys.ben, keys.cleo])
    trust = TrustStore.load(write_chain(tmp_path, [*chain, fourth]))

    for now in (NOW - timedelta(days=30), NOW, LATER):
        assert trust.find(keys.eve.key_id, now=now) is None
        assert trust.holders("evaluator", now=now) == []
    assert trust.known(keys.eve.key_id) == keys.eve.public
    without = next_root(fourth, keys=tuple(k for k in revoked if k.revoked_at is None))
    fifth = signed_root(without, [keys.ben, keys.cleo])
    for before, back in (([], fourth), ([fifth], fifth)):
        again = signed_root(next_root(back, keys=chain[2].root.keys), [keys.ben, keys.cleo])
        assert refused(tmp_path, [*chain, fourth, *before, again]) == "root-unlinked"


def test_an_expired_root_counts_for_nothing(tmp_path, keys, chain):
    """
    From its end on no key of it is found, and a verifier says why; that an earlier version expired is no matter.
    """
    short = signed_root(
        make_root(
            [keys.ada], [keys.eve], issued_at=NOW - timedelta(days=9), expires_at=NOW - timedelta(days=8)
        ),
        [keys.ada],
    )
    longer = signed_root(next_root(short, expires_at=LATER, issued_at=NOW), [keys.ada])
    trust = TrustStore.load(write_chain(tmp_path, [short, longer]))

    assert trust.find(keys.eve.key_id, now=NOW) == keys.eve.public
    assert trust.find(keys.eve.key_id, now=LATER) is None
    assert trust.holders("evaluator", now=LATER) == []
    assert trust.known(keys.eve.key_id) == keys.eve.public
    assert require_newest(trust, VerifierMemory(), now=NOW).roots[trust.root.root_id] == trust.root
    for now, reason in ((LATER, "root-expired"), (NOW - timedelta(minutes=6), "clock-behind")):
        with pytest.raises(VerificationError) as caught:
            require_newest(trust, VerifierMemory(), now=now)
        assert caught.value.reason == reason


def test_a_root_that_was_set_back_or_split_is_noticed(tmp_path, keys, chain):
    """
    Once a version was seen, an older one and one that says something else are refused, and so is any that does not
    go on from the one seen. Another root has a memory of its own.
    """
    first, second, third = (TrustStore.load(write_chain(tmp_path / str(n), chain[:n])) for n in (1, 2, 3))
    seen = require_newest(second, VerifierMemory(), now=NOW)
    other = signed_root(changed(chain[1].root, status_list_id="ab" * 16), keys.roots)
    after = signed_root(next_root(other), keys.roots)
    split = TrustStore.load(write_chain(tmp_path / "split", [chain[0], other]))
    beyond = TrustStore.load(write_chain(tmp_path / "beyond", [chain[0], other, after]))
    apart = make_root([keys.ada], root_id="c" * 32)
    own = TrustStore.load(write_chain(tmp_path / "own", [signed_root(apart, [keys.ada])]))

    assert require_newest(second, seen, now=NOW) == seen
    assert require_newest(third, seen, now=NOW).roots[third.root.root_id] == third.root
    assert set(require_newest(own, seen, now=NOW).roots) == {"c" * 32, second.root.root_id}
    for trust, reason in (
        (first, "root-rollback"),
        (split, "root-equivocation"),
        (beyond, "root-equivocation"),
    ):
        for check in (lambda t=trust: require_newest(t, seen, now=NOW), lambda t=trust: note_root(t, seen)):
            with pytest.raises(VerificationError) as caught:
                check()
            assert caught.value.reason == reason


def test_a_version_that_was_seen_counts_even_where_it_has_expired(tmp_path, keys, chain):
    """
    `note_root` remembers a version before anything else is decided, so that an expired one cannot be set back.
    """
    soon = signed_root(next_root(chain[0], expires_at=LATER), keys.roots)
    short = TrustStore.load(write_chain(tmp_path / "two", [chain[0], soon]))
    first = TrustStore.load(write_chain(tmp_path / "one", chain[:1]))
    seen = note_root(short, VerifierMemory())

    with pytest.raises(VerificationError, match="expired"):
        require_newest(short, seen, now=LATER)
    with pytest.raises(VerificationError, match="older"):
        require_newest(first, seen, now=LATER)


def test_an_earlier_memory_is_read():
    """
    A memory of before there were roots is read, and remembers none.
    """
    assert VerifierMemory.from_json(b'{"schema_version":1,"logs":{},"status_lists":{}}').roots == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda said: said.update(owner="Eve"),
        lambda said: said.pop("root_threshold"),
        lambda said: said.update(schema_version=2),
        lambda said: said.update(root_threshold=4),
        lambda said: said.update(root_threshold=0),
        lambda said: said.update(version=0),
        lambda said: said.update(previous_sha256="0" * 64),
        lambda said: said.update(root_id="X" * 32),
        lambda said: said.update(expires_at=said["issued_at"]),
        lambda said: said.update(status_list_id=None),
        lambda said: said["keys"].append(said["keys"][0]),
        lambda said: said["keys"][0].update(key_id="0" * 64),
        lambda said: said["keys"][0].update(expires="2030-01-01T00:00:00Z"),
        lambda said: said["keys"][0].update(expires_at="2030-01-01T00:00:00Z"),
        lambda said: said["keys"][0].update(revoked_at="2026-01-01T00:00:00Z"),
        lambda said: said["keys"][0].update(roles=["evaluator"]),
        lambda said: said["keys"][0].update(name=""),
        lambda said: said["keys"][0].update(name="Ada\x1b[2J"),
        lambda said: said["keys"][0].update(name="Ada "),
        lambda said: said["keys"][0].pop("algorithm"),
        lambda said: said["keys"][4].update(public_key="A" * 43 + "="),
        lambda said: said["keys"][4].update(roles=["evaluator", "evaluator"]),
        lambda said: said["root_key_ids"].append(said["root_key_ids"][0]),
        lambda said: said["root_key_ids"].append(said["keys"][4]["key_id"]),
        lambda said: said["root_key_ids"].append("0" * 64),
    ],
)
def test_what_is_no_root_is_refused_whoever_signed_it(tmp_path, keys, chain, damage):
    """
    A field too many or too few, a key that is not what it says, a root key that is none: refused, though all sign.
    """
    said = json.loads(chain[0].envelope.payload)
    damage(said)
    envelope = replace(chain[0].envelope, payload=canonical_json(said), signatures=())
    for key in keys.roots:
        envelope = envelope.signed_by(key)
    (tmp_path / "root.json").write_bytes(envelope.to_json())

    assert refusal(tmp_path) == "root-malformed"


def test_an_envelope_of_another_kind_is_no_root(tmp_path, keys, chain):
    """
    The same payload under another type, or not in canonical form, is none, though the root keys signed that.
    """
    payload = chain[0].envelope.payload
    for kind, data in (
        ("application/vnd.recert.status+json", payload),
        (chain[0].envelope.payload_type, payload + b"\n"),
    ):
        signatures = tuple(Signature(key.key_id, key.sign(pae(kind, data))) for key in keys.roots)
        (tmp_path / "root.json").write_bytes(Envelope(kind, data, signatures).to_json())
        assert refusal(tmp_path) == "root-malformed"


def test_a_signature_of_another_version_counts_for_none(tmp_path, keys, chain):
    """
    Signatures moved from one version to another do not verify there.
    """
    moved = replace(chain[2].envelope, signatures=chain[1].envelope.signatures)

    assert refused(tmp_path, [*chain[:2], replace(chain[2], envelope=moved)]) == "root-unsigned"


def test_the_digest_is_over_all_that_a_store_says(tmp_path, keys, chain):
    """
    Two stores with one digest trust the same keys in the same roles under the same root; any change is another.
    """
    eve, pia = keys.eve.public, keys.pia.public
    digests = [
        TrustStore([eve]).digest,
        TrustStore([eve, pia]).digest,
        TrustStore([eve.model_copy(update={"name": "Eva"})]).digest,
        TrustStore([eve.model_copy(update={"expires_at": NOW})]).digest,
        TrustStore([eve.model_copy(update={"roles": ("status",)})]).digest,
        *(TrustStore.load(write_chain(tmp_path / str(n), chain[:n])).digest for n in (1, 2, 3)),
    ]

    assert len(set(digests)) == len(digests)
    assert TrustStore([pia, eve]).digest == TrustStore([eve, pia]).digest


def test_a_person_with_two_keys_is_found(keys):
    """
    Two keys of one name are one person's; a key that is named twice is too; strangers are themselves.
    """
    pia_too = make_key("risk-owner", "PIA")
    trust = TrustStore([keys.eve.public, keys.pia.public, pia_too.public])
    eve, pia, too = keys.eve.key_id, keys.pia.key_id, pia_too.key_id

    assert same_person(trust, [eve, pia]) is None
    assert same_person(trust, [eve, pia, too]) == (pia, too)
    assert same_person(trust, [eve, pia, eve]) == (eve, eve)
    assert same_person(trust, ["0" * 64, eve, "1" * 64]) is None
    assert trust.person(too) == trust.person(pia) == "Pia"


def test_an_approval_under_another_name_is_found(keys):
    """
    A name that is not the trust store's, and a key that the trust store does not have, are named.
    """
    trust = TrustStore([keys.eve.public, keys.pia.public])
    good = Approval(role="evaluator", key_id=keys.eve.key_id, name="Eve")
    bad = Approval(role="approver", key_id=keys.pia.key_id, name="Mia")
    unknown = Approval(role="approver", key_id="0" * 64, name="Pia")

    assert misnamed(trust, [good]) == ()
    assert misnamed(trust, [good, bad, unknown]) == (bad, unknown)


def test_a_list_of_keys_needs_no_name_and_a_root_does(keys):
    """
    Who tries things may leave names out; in a root every key is somebody's.
    """
    nameless = make_key("approver", "")

    assert TrustStore([nameless.public]).person(nameless.key_id) == nameless.key_id
    with pytest.raises((RecordError, ValidationError)):
        make_root([keys.ada], [nameless])
    with pytest.raises(SigningKeyError, match="twice"):
        TrustStore([keys.eve.public, keys.eve.public])
