"""What listened, as a record: every difference is told, and records of text alone are as they were."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import EARS_FILES, make_ears, make_eval_report
from recert.digest import canonical_json
from recert.errors import RecordError
from recert.records.live.transcriber import EarsManifest
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.certificate import Certificate
from stories import certificate as make_certificate

ears = st.builds(
    make_ears,
    files=st.dictionaries(st.sampled_from("abc"), st.binary(max_size=1), min_size=1),
    engine=st.sampled_from(["one/1", "one/2"]),
    decoding=st.dictionaries(st.sampled_from(["beam_size", "language"]), st.sampled_from(["1", "2"])),
)


@given(one=ears, other=ears)
def test_ears_without_a_difference_are_the_same(one: EarsManifest, other: EarsManifest) -> None:
    """Nothing is said of two that are the same, and something of any other two: a file, the engine or a setting."""
    assert (one.differences(other) == ()) == (one.digest == other.digest) == (one == other)
    assert EarsManifest.from_json(one.to_json()) == one


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (make_ears(EARS_FILES | {"model.bin": b"what hearz"}), "file differs: model.bin: certified sha256:"),
        (make_ears(engine="letters/2"), "engine differs: certified letters/1, on disk letters/2"),
        (make_ears(decoding={"beam_size": "1"}), 'setting differs: language: certified "en", on disk none'),
    ],
)
def test_a_difference_is_told_in_words(changed: EarsManifest, said: str) -> None:
    """What was certified stands beside what is there."""
    (words,) = make_ears().differences(changed)

    assert words.startswith(said)


def test_records_of_text_alone_are_written_as_before() -> None:
    """A report and a certificate without ears have no field of them, so digests of earlier ones stay."""
    report = make_eval_report()
    value, certified = report.to_value(), make_certificate(report).to_value()

    assert "ears" not in value and "ears" not in certified
    assert all("ears_sha256" not in arm for arm in value["arms"])


def test_ears_are_read_as_they_were_written() -> None:
    """Report and certificate with ears read and write to the same bytes."""
    report = make_eval_report(ears=make_ears())
    certificate = make_certificate(report, ears=make_ears())

    assert EvalReport.from_json(report.to_json()).to_json() == report.to_json()
    assert Certificate.from_json(certificate.to_json()).to_json() == certificate.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"files": []},
        {"engine": ""},
        {"decoding": {"beam_size": 1}},
        {"files": [{"name": "../model.bin", "size_bytes": 1, "sha256": "a" * 64}]},
        {"files": [{"name": "model.bin", "size_bytes": 1, "sha256": "A" * 64}]},
        {"files": [{"name": name, "size_bytes": 1, "sha256": "a" * 64} for name in ("b", "a")]},
    ],
)
def test_ears_that_are_none_are_refused(change: dict[str, Any]) -> None:
    """A certificate with malformed ears is no certificate."""
    value = make_certificate(make_eval_report(), ears=make_ears()).to_value()
    value["ears"] |= change

    with pytest.raises(RecordError):
        Certificate.from_json(canonical_json(value))
