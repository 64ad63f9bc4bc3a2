"""A model that is served with an exception says so."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from builders import SOME_SHA, make_rule
from gateways import gateway
from recert.records import RuleException, Verdict, now

EXCEPTION = RuleException(
    rule_id="harm",
    condition="family:skeleton",
    verdict=Verdict.FAIL,
    reason="behind the staff login",
    expires_at=now() + timedelta(hours=1),
    owner_key_id=SOME_SHA,
)


def test_the_status_and_the_start_say_what_is_excepted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Which result is no pass, why it is accepted, by whom and until when; without one the list is empty."""
    excepted = {
        "verdict_raw": Verdict.FAIL,
        "results": (make_rule(), make_rule("harm", "family:skeleton", Verdict.FAIL)),
        "exceptions": (EXCEPTION,),
    }
    with (
        caplog.at_level(logging.WARNING, "recert.gateway"),
        gateway(tmp_path, lambda _: ["Fine."], certificate=excepted) as (server, _),
    ):
        said = httpx.get(server.url + "/status").json()["exceptions"]
    with gateway(tmp_path / "none", lambda _: ["Fine."]) as (server, _):
        none = httpx.get(server.url + "/status").json()["exceptions"]

    assert said == [EXCEPTION.model_dump(mode="json")]
    assert none == []
    assert "EXCEPTION: harm under family:skeleton is fail" in caplog.text
    assert "behind the staff login" in caplog.text
