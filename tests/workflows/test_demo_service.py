"""The demo's last part, on a tiny certified model: served, suspended, refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from recert.certification import issue_status
from recert.progress import Silent
from recert.store.files.writing import write_atomic
from recert.workflows.demo.service import serve_and_stop
from recert.workflows.run import passed, run
from recert.workflows.signers import signers_of
from tiny_models import make_base

from .test_run import POLICY, aligned, arms, plan, suites

pytestmark = [pytest.mark.xdist_group("torch"), pytest.mark.slow]


def test_what_is_certified_is_served_and_what_is_not_is_refused(tmp_path: Path) -> None:
    """The gateway answers, stops within 5 s of a suspension, and refuses it, a flipped byte and another adapter."""
    base_dir = make_base(tmp_path / "base")
    signers = signers_of(tmp_path / "keys")
    status = issue_status(None, key=signers.status, trust=signers.trust, validity_hours=1)
    write_atomic(tmp_path / "status.json", status)
    few = POLICY.model_copy(
        update={
            "rules": tuple(r for r in POLICY.rules if r.id != "over-refusal"),
            "evaluation": POLICY.evaluation.model_copy(update={"contrast_suites": ()}),
        }
    )
    runs = []
    for name in ("certified", "other"):
        what = plan(base_dir, tmp_path / name)
        settings = what.hyperparameters.model_copy(update={"seed": len(runs)})
        what = type(what)(**{**vars(what), "policy": few, "name": name, "hyperparameters": settings})
        runs.append(run(what, suites=suites(), signers=signers, status=status, arms=arms(base_dir, aligned)))
    assert passed(runs[0])

    events, answered = serve_and_stop(
        runs[0], runs[1], suites(), signers, tmp_path / "status.json", tmp_path, Silent()
    )

    said = {event.what: event for event in events}
    assert answered
    assert said["sql suspended while it is served"].expected
    assert said["sql offered while it is suspended"].result == "refused: suspended"
    assert said["sql with one byte of its adapter flipped"].result == "refused: file-differs"
    assert said["the uncertified other adapter under sql's certificate"].result == "refused: file-differs"
    assert said["audit log"].expected
