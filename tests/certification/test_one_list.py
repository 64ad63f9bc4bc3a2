"""One status list for many models: it is read once, and what was read before never makes an answer looser."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from certified_folders import Certified
from recert.certification import TrustStore, generate_key, issue_status, read_status
from recert.certification.signing.content import new_serial
from recert.errors import VerificationError
from recert.records.record import now
from recert.records.signed.certificate import StatusEntry

MANY = 4000


def suspensions(n: int) -> list[StatusEntry]:
    """Return entries of other certificates."""
    since = now()
    return [
        StatusEntry(serial=new_serial(), status="suspended", reason="canary", since=since) for _ in range(n)
    ]


def longer(one: Certified, n: int) -> bytes:
    """Return a list with many entries."""
    return issue_status(
        one.status.read_bytes(),
        key=one.keys["status"],
        trust=one.trusted,
        validity_hours=24,
        entries=suspensions(n),
    )


def test_a_long_list_is_read_once_for_all_models(tmp_path: Path) -> None:
    """A gateway looks at every model about once a second; the same bytes are not parsed again for each of them."""
    one = Certified(tmp_path)
    data, spent = longer(one, MANY), []
    for _ in range(4):
        began = time.process_time()
        read_status(data, trust=one.trusted, now=now())
        spent.append(time.process_time() - began)

    assert min(spent[1:]) < spent[0] / 5


def test_a_newer_list_takes_the_place_of_the_one_read_before(tmp_path: Path) -> None:
    """A suspension counts in the very next look, and the older list is still told apart from it."""
    one = Certified(tmp_path)
    before = one.status.read_bytes()
    one.verified()
    one.suspend()

    with pytest.raises(VerificationError, match="suspended"):
        one.verified()
    assert read_status(before, trust=one.trusted, now=now()).entries == ()


def test_a_changed_byte_is_refused_after_the_good_list_was_read(tmp_path: Path) -> None:
    """Only the very bytes that were proven are taken for proven."""
    one = Certified(tmp_path)
    good = one.status.read_bytes()
    read_status(good, trust=one.trusted, now=now())
    at = good.index(b'"sig":"') + 12
    bad = good[:at] + (b"A" if good[at : at + 1] != b"A" else b"B") + good[at + 1 :]

    with pytest.raises(VerificationError) as refused:
        read_status(bad, trust=one.trusted, now=now())
    assert refused.value.reason == "status-untrusted"


def test_whoever_is_not_trusted_stays_so_after_somebody_elses_list_was_read(tmp_path: Path) -> None:
    """What one trust store accepted says nothing to another."""
    one = Certified(tmp_path / "one")
    other = generate_key(tmp_path / "other" / "status.pem", "status", "Other")
    data = one.status.read_bytes()
    read_status(data, trust=one.trusted, now=now())

    with pytest.raises(VerificationError) as refused:
        read_status(data, trust=TrustStore([other.public]), now=now())
    assert refused.value.reason == "status-untrusted"


def test_a_list_ends_with_its_key_although_it_was_read_before(tmp_path: Path) -> None:
    """A key that has expired since signs for nothing, and neither does a time before the list was first read."""
    at = now()
    one = Certified(tmp_path, made_at=at)
    expiring = one.keys["status"].public.model_copy(update={"expires_at": at + timedelta(hours=1)})
    trust = TrustStore([expiring])
    data = one.status.read_bytes()

    assert read_status(data, trust=trust, now=at).version == 1
    with pytest.raises(VerificationError) as refused:
        read_status(data, trust=trust, now=at + timedelta(hours=2))
    assert refused.value.reason == "status-untrusted"
    assert read_status(data, trust=trust, now=at + timedelta(minutes=30)).version == 1
