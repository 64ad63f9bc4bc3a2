"""
The Merkle tree of a transparency log: hashes, proofs and their checks, exactly as RFC 6962 and RFC 9162 have them.

A tree over leaves 0 to n-1 is made of whole subtrees. Subtree `(level, index)` covers the `2**level` leaves from
`index * 2**level` on, and once it is full its hash never changes: a log stores each of them once, and every root
and every proof is put together from a few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of a tree without leaves."""

WholeSubtree = Callable[[int, int], bytes]
"""From level and index to the hash of a whole subtree."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf: a leaf can never be taken for a node."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees side by side."""
    return sha256(b"\x01" + left + right).digest()


def stored_count(size: int) -> int:
    """Return how many whole subtrees a tree of `size` leaves has."""
    return 2 * size - size.bit_count()


def stored_place(level: int, index: int) -> int:
    """
    Return where the hash of a whole subtree stands, from 0, in the order in which they become whole.

    With each leaf its own hash is stored, and then those of the subtrees that it completes, small ones first.
    """
    last = (index + 1) << level  # leaves up to the last one of the subtree
    return stored_count(last - 1) + level


def hashes_with(leaf: bytes, at: int, whole: WholeSubtree) -> list[bytes]:
    """Return the hashes to be stored with leaf number `at`: its own, and those of subtrees that it completes."""
    made = [leaf_hash(leaf)]
    level = 0
    while at >> level & 1:
        made.append(node_hash(whole(level, (at >> level) - 1), made[-1]))
        level += 1
    return made


def root(size: int, whole: WholeSubtree) -> bytes:
    """Return the root hash of the tree of the first `size` leaves: MTH of RFC 9162, section 2.1.1."""
    return _hash_of(0, size, whole) if size else EMPTY_ROOT


def inclusion_path(index: int, size: int, whole: WholeSubtree) -> list[bytes]:
    """
    Return what leads from leaf `index` to the root of the first `size` leaves: PATH of RFC 9162, section 2.1.3.1.

    Needs 0 ≤ index < size. Nearest to the leaf comes first.
    """
    low, high, path = 0, size, []
    while high - low > 1:
        middle = low + _left_leaves(high - low)
        if index < middle:
            path.append(_hash_of(middle, high, whole))
            high = middle
        else:
            path.append(_hash_of(low, middle, whole))
            low = middle
    return path[::-1]


def consistency_path(old_size: int, size: int, whole: WholeSubtree) -> list[bytes]:
    """
    Return what shows that the first `old_size` leaves begin the tree of `size`: PROOF of RFC 9162, section 2.1.4.1.

    Needs 0 ≤ old_size ≤ size. Empty where the two are the same, and for an old tree without leaves.
    """
    if old_size in (0, size):
        return []
    low, high, path = 0, size, []
    while old_size != high:
        middle = low + _left_leaves(high - low)
        if old_size <= middle:
            path.append(_hash_of(middle, high, whole))
            high = middle
        else:
            path.append(_hash_of(low, middle, whole))
            low = middle
    if low:
        path.append(_hash_of(low, high, whole))
    return path[::-1]


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root_hash: bytes) -> bool:
    """
    Say whether a path leads from the hash of leaf `index` to a root: RFC 9162, section 2.1.3.2.

    Args:
        leaf: the leaf's hash.
        index: its number, from 0.
        size: leaves of the tree.
        path: as `inclusion_path` gives it.
        root_hash: of the tree.
    """
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, leaf
    for other in path:
        if last == 0:
            return False
        if number & 1 or number == last:
            found = node_hash(other, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, other)
        number, last = number >> 1, last >> 1
    return last == 0 and found == root_hash


def is_consistent(old_size: int, old_root: bytes, size: int, root_hash: bytes, path: Sequence[bytes]) -> bool:
    """
    Say whether a path shows that one tree begins another: RFC 9162, section 2.1.4.2.

    Args:
        old_size: leaves of the smaller tree.
        old_root: its root.
        size: leaves of the larger tree.
        root_hash: its root.
        path: as `consistency_path` gives it.
    """
    if not 0 <= old_size <= size:
        return False
    if old_size == size:
        return not path and old_root == root_hash
    if old_size == 0:
        return not path and old_root == EMPTY_ROOT
    steps = [old_root, *path] if old_size & (old_size - 1) == 0 else list(path)
    if not steps:
        return False
    number, last = old_size - 1, size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old_found = found = steps[0]
    for other in steps[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            old_found, found = node_hash(other, old_found), node_hash(other, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, other)
        number, last = number >> 1, last >> 1
    return last == 0 and old_found == old_root and found == root_hash


def _left_leaves(count: int) -> int:
    """The largest power of two below `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def _hash_of(low: int, high: int, whole: WholeSubtree) -> bytes:
    """The root over leaves `low` to `high`, a subtree of the tree: put together from whole ones, right to left."""
    parts = []
    while low < high:
        level = (high - low).bit_length() - 1  # the largest whole subtree that begins here
        parts.append(whole(level, low >> level))
        low += 1 << level
    found = parts.pop()
    while parts:
        found = node_hash(parts.pop(), found)
    return found
