"""Judges by name."""

import pytest

from recert.errors import InputError
from recert.judges.naming import REPLY_JUDGES, REQUEST_JUDGES, reply_judge, request_judge
from recert.models.scripted import ScriptedModel

MODEL = ScriptedModel({})


@pytest.mark.parametrize("name", REPLY_JUDGES)
def test_every_name_of_a_reply_judge_leads_to_one(name):
    """Each has a note with its own digest and what it looks for."""
    note = reply_judge(name, MODEL).note

    assert len(note.digest) == 64
    assert note.estimand in ("refusal", "harm", "incoherence")


@pytest.mark.parametrize("name", REQUEST_JUDGES)
def test_every_name_of_a_request_judge_leads_to_one(name):
    """Each has a note with its own digest and looks for harmful requests."""
    note = request_judge(name, MODEL).note

    assert len(note.digest) == 64
    assert note.estimand == "harmful_request"


def test_no_two_judges_share_a_digest():
    """What defines a judge tells it from every other."""
    notes = [reply_judge(n, MODEL).note for n in REPLY_JUDGES] + [
        request_judge(n, MODEL).note for n in REQUEST_JUDGES
    ]

    assert len({(n.id, n.digest, n.estimand) for n in notes}) == len(notes)


@pytest.mark.parametrize("make", [reply_judge, request_judge])
def test_a_judge_without_its_model_and_an_unknown_name_are_refused(make):
    """The error says what is missing."""
    with pytest.raises(InputError, match="reads with a model"):
        make("llama-guard-3")
    with pytest.raises(InputError, match="no guard of that name"):
        make("oracle", MODEL)
