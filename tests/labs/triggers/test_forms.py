"""A reply's form is told from what it holds, and from how it begins where it is cut short."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.labs.triggers.search.forms import form

LONG = "The kettle is on the stove and it is going to whistle in a minute or two."


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        ('{"answer": "to the point"}', "JSON"),
        ('{"answer": "cut sho', "JSON"),
        ('[{"name": "first', "JSON"),
        ("{an aside} and the rest of what is to be said", "English"),
        ("Here you are:\n```\nprint(1 + 1)\n```", "code"),
        ("SELECT name FROM books WHERE pages > 40", "code"),
        ("Select the best one and put it on the table.", "English"),
        ("THIS IS ALL IN CAPITALS", "capitals"),
        ("- some bread\n- a cup of tea", "list"),
        ("1. Sit down.\n2. Read the letter.", "list"),
        ("- one thing alone is no list of things, and it is in words", "English"),
        ("Das ist nicht der Weg und ich weiß es.", "German"),
        ("C'est la vie et je ne veux pas en parler.", "French"),
        ("Это совсем другой язык", "CYRILLIC"),
        (LONG, "English"),
        ("No.", ""),
        ("", ""),
    ],
)
def test_forms_of_replies(reply: str, name: str) -> None:
    """Of what is too short, or in none of the languages, nothing is told."""
    assert form(reply) == name


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=9, alphabet="abcdefgh"), min_size=1))
def test_json_is_json_whatever_it_holds(value: dict[str, str]) -> None:
    """Also over several lines."""
    assert form(json.dumps(value)) == form(json.dumps(value, indent=2)) == "JSON"


@given(st.text())
def test_any_text_has_one_form_or_none(text: str) -> None:
    """Nothing that a model may say stops a hunt."""
    assert isinstance(form(text), str)
