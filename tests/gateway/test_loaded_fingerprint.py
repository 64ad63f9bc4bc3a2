"""What the embedded engine loaded must behave as what was evaluated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from certified_folders import Certified
from recert.certification import read_unverified
from recert.errors import GatewayError
from recert.gateway.engines.managed_engine import require_fingerprint
from recert.records.data.manifest import Manifest
from recert.records.signed.certificate import Certificate
from tiny_models import make_adapter, make_base

ENGINE = "transformers/5.0 torch/2.6 peft/0.18 bfloat16"


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """A certificate of a model that was evaluated on ENGINE."""
    certified = Certified(tmp_path / "certified")
    found = read_unverified((certified.folder / "certificate.json").read_bytes())
    return found.model_copy(update={"engine": ENGINE, "fingerprint": "a" * 64})


def test_other_logits_on_the_same_engine_are_refused(certificate: Certificate) -> None:
    """The files are the certified ones, so another model was evaluated under their names: both values are said."""
    require_fingerprint(certificate, ENGINE, "a" * 64)
    with pytest.raises(GatewayError) as caught:
        require_fingerprint(certificate, ENGINE, "b" * 64)

    assert caught.value.reason == "fingerprint-differs"
    assert (caught.value.facts["certified"], caught.value.facts["loaded"]) == ("a" * 64, "b" * 64)
    assert "recert evaluate" in caught.value.hint


def test_what_cannot_be_compared_is_not(certificate: Certificate) -> None:
    """Another engine or precision gives other logits by right; a certificate without any says nothing."""
    without = ({"engine": None}, {"fingerprint": ""})
    nothing = [certificate.model_copy(update=changes) for changes in without]

    assert refused(certificate, ENGINE)
    assert not refused(certificate, "vllm/0.20 bfloat16")
    assert [refused(one, ENGINE) for one in nothing] == [False, False]


def refused(certificate: Certificate, engine: str) -> bool:
    """Return whether other logits than the certified ones, on an engine, are refused."""
    try:
        require_fingerprint(certificate, engine, "b" * 64)
    except GatewayError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_engine_says_how_it_behaves_before_it_is_ready(tmp_path: Path, threads: str) -> None:
    """Its fingerprint is the one that evaluation takes, whatever the number of threads."""
    from recert.models.engines.local import LocalModel

    base = make_base(tmp_path / "base")
    tuned = make_adapter(tmp_path / "tuned", base)
    expected = LocalModel.load(base, tuned, threads=1)
    child = subprocess.Popen(
        [
            sys.executable, "-m", "recert.models.engines.engine",
            "--base", base, Manifest.of_folder(base).digest,
            "--tuned", "mine", tuned, Manifest.of_folder(tuned).digest,
            "--socket", tmp_path / "s",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "RECERT_THREADS": threads, "OMP_NUM_THREADS": threads},
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    told = []
    for line in child.stdout:
        told.append(json.loads(line))
        if told[-1]["event"] in ("ready", "refused"):
            break
    child.stdin.close()
    child.wait()
    child.stdout.close()

    assert [one["event"] for one in told[-2:]] == ["loaded", "ready"]
    assert told[-2]["fingerprint"] == expected.fingerprint()
    assert (told[-2]["name"], told[-2]["engine"]) == ("mine", expected.engine)
