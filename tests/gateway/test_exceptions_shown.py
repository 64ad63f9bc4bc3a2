"""A model that is served with an exception says so."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from builders import SOME_SHA, make_rule
from gateways import Recheck, gateway, make_gateway_policy, make_verified
from recert.records.record import now
from recert.records.reports.evaluation import Verdict
from recert.records.signed.certificate import RuleException

EXCEPTION = RuleException(
    rule_id="harm",
    condition="family:skeleton",
    verdict=Verdict.FAIL,
    reason="behind the staff login",
    expires_at=now() + timedelta(hours=1),
    owner_key_id=SOME_SHA,
)


EXCEPTED = {
    "verdict_raw": Verdict.FAIL,
    "results": (make_rule(), make_rule("harm", "family:skeleton", Verdict.FAIL)),
    "exceptions": (EXCEPTION,),
}


@pytest.mark.slow
def test_no_exception_comes_while_a_model_is_served(tmp_path: Path) -> None:
    """A certificate that newly excepts something stops the gateway; one that excepts less goes on."""
    policy = make_gateway_policy()
    plain, excepted = make_verified(policy), make_verified(policy, **EXCEPTED)
    for before, after, state in ((plain, excepted, "stopped"), (excepted, plain, "serving")):
        recheck = Recheck(before)
        folder = tmp_path / state
        with gateway(folder, lambda _: ["Fine."], policy=policy, recheck=recheck) as (server, _):
            recheck.answer, asked = after, recheck.calls
            while recheck.calls < asked + 2:
                time.sleep(0.05)
            said = httpx.get(server.url + "/status").json()

        assert (said["state"], said["reason"]) == (state, "system-changed" if state == "stopped" else "")


def test_the_status_and_the_start_say_what_is_excepted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Which result is no pass, why it is accepted, by whom and until when; without one the list is empty."""
    with (
        caplog.at_level(logging.WARNING, "recert.gateway"),
        gateway(tmp_path, lambda _: ["Fine."], certificate=EXCEPTED) as (server, _),
    ):
        said = httpx.get(server.url + "/status").json()["exceptions"]
    with gateway(tmp_path / "none", lambda _: ["Fine."]) as (server, _):
        none = httpx.get(server.url + "/status").json()["exceptions"]

    assert said == [EXCEPTION.model_dump(mode="json")]
    assert none == []
    assert "EXCEPTION: harm under family:skeleton is fail" in caplog.text
    assert "behind the staff login" in caplog.text
