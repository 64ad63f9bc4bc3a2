"""The tree of a transparency log: RFC 6962's own figures, and a plain reading of RFC 9162."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.store.transparency.merkle import (
    EMPTY_ROOT,
    consistency_path,
    hashes_with,
    inclusion_path,
    is_consistent,
    is_included,
    leaf_hash,
    root,
    stored_count,
    stored_place,
)

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Certificate Transparency's published test vectors: roots over the first 0 to 8 of these leaves."""
INCLUSION = {
    (0, 1): (),
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}


class Stored:
    """Hashes of whole subtrees in memory, as a log stores them."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.hashes: list[bytes] = []
        for at, leaf in enumerate(leaves):
            assert len(self.hashes) == stored_count(at)
            self.hashes += hashes_with(leaf, at, self.whole)

    def whole(self, level: int, index: int) -> bytes:
        """The hash of a whole subtree."""
        return self.hashes[stored_place(level, index)]


def plain_root(leaves: list[bytes]) -> bytes:
    """MTH, as the RFC writes it."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    k = split(len(leaves))
    return sha256(b"\1" + plain_root(leaves[:k]) + plain_root(leaves[k:])).digest()


def plain_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH, as the RFC writes it."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*plain_path(m, leaves[:k]), plain_root(leaves[k:])]
    return [*plain_path(m - k, leaves[k:]), plain_root(leaves[:k])]


def plain_proof(m: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF, as the RFC writes it."""
    if m == len(leaves):
        return [] if whole else [plain_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*plain_proof(m, leaves[:k], whole=whole), plain_root(leaves[k:])]
    return [*plain_proof(m - k, leaves[k:], whole=False), plain_root(leaves[:k])]


def split(n: int) -> int:
    """The largest power of two below n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def numbered(n: int) -> list[bytes]:
    """Leaves that differ."""
    return [f"leaf {i}".encode() for i in range(n)]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size: int) -> None:
    """Trees of no to eight leaves have the roots of the published test vectors."""
    stored = Stored(LEAVES)

    assert root(size, stored.whole).hex() == ROOTS[size]


def test_proofs_are_the_published_ones() -> None:
    """Inclusion and consistency proofs are those of the published test vectors."""
    whole = Stored(LEAVES).whole

    assert {(i, n): tuple(h.hex() for h in inclusion_path(i, n, whole)) for i, n in INCLUSION} == INCLUSION
    assert {
        (m, n): tuple(h.hex() for h in consistency_path(m, n, whole)) for m, n in CONSISTENCY
    } == CONSISTENCY
    assert root(0, whole) == EMPTY_ROOT


@given(data=st.data(), size=st.integers(1, 300))
@settings(max_examples=120, deadline=None)
def test_roots_and_proofs_are_those_of_a_plain_reading(data: st.DataObject, size: int) -> None:
    """For trees of any size everything is as RFC 9162 defines it, and is accepted by the RFC's checks."""
    leaves = numbered(size)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    whole = Stored(leaves).whole
    here, before = root(size, whole), root(old, whole)
    path, proof = inclusion_path(index, size, whole), consistency_path(old, size, whole)

    assert (here, before) == (plain_root(leaves), plain_root(leaves[:old]))
    assert path == plain_path(index, leaves)
    assert proof == plain_proof(old, leaves)
    assert is_included(leaf_hash(leaves[index]), index, size, path, here)
    assert is_consistent(old, before, size, here, proof)
    assert len(path) <= size.bit_length()
    assert len(proof) <= size.bit_length() + 1


@given(data=st.data(), size=st.integers(2, 80))
@settings(max_examples=150, deadline=None)
def test_no_changed_proof_of_inclusion_holds(data: st.DataObject, size: int) -> None:
    """Another leaf, index, size, root, or a path with any element changed, missing or added says no."""
    leaves = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    whole = Stored(leaves).whole
    here, path = root(size, whole), inclusion_path(index, size, whole)
    leaf = leaf_hash(leaves[index])
    at = data.draw(st.integers(0, len(path) - 1))
    other = data.draw(st.binary(min_size=32, max_size=32).filter(lambda b: b != path[at]))
    another = data.draw(st.integers(0, size - 1).filter(lambda i: i != index))

    assert not is_included(leaf, index, size, path[:at] + path[at + 1 :], here)
    assert not is_included(leaf, index, size, [*path[:at], other, *path[at + 1 :]], here)
    assert not is_included(leaf, index, size, [*path[:at], other, *path[at:]], here)
    assert not is_included(leaf, index, size, [*path, other], here)
    assert not is_included(leaf, another, size, path, here)
    assert not is_included(leaf_hash(leaves[another]), index, size, path, here)
    assert not is_included(leaf, index, size, path, other)
    assert not is_included(leaf, size, size, path, here)
    assert not is_included(leaf, -1, size, path, here)


@given(data=st.data(), size=st.integers(2, 80))
@settings(max_examples=150, deadline=None)
def test_no_changed_proof_of_consistency_holds(data: st.DataObject, size: int) -> None:
    """Another root, a tree that differs before the old size, or a path with any element changed says no."""
    leaves = numbered(size)
    old = data.draw(st.integers(1, size - 1))
    changed = list(leaves)
    changed[data.draw(st.integers(0, old - 1))] = b"another"
    whole, forked = Stored(leaves).whole, Stored(changed).whole
    before, here, proof = root(old, whole), root(size, whole), consistency_path(old, size, whole)
    at = data.draw(st.integers(0, len(proof) - 1))
    other = data.draw(st.binary(min_size=32, max_size=32).filter(lambda b: b != proof[at]))

    assert not is_consistent(old, before, size, here, proof[:at] + proof[at + 1 :])
    assert not is_consistent(old, before, size, here, [*proof[:at], other, *proof[at + 1 :]])
    assert not is_consistent(old, before, size, here, [*proof, other])
    assert not is_consistent(old, other, size, here, proof)
    assert not is_consistent(old, before, size, other, proof)
    assert not is_consistent(old, before, size, root(size, forked), consistency_path(old, size, forked))
    assert not is_consistent(size, here, old, before, proof)


def test_a_leaf_is_never_taken_for_a_node() -> None:
    """The hash of two hashes as a leaf is not that of a node, so that no tree has two readings."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    pair = Stored([b"a", b"b"])

    assert leaf_hash(left + right) != root(2, pair.whole)
    assert not is_included(leaf_hash(left + right), 0, 1, [], root(2, pair.whole))
