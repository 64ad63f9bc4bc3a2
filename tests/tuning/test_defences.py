"""What a defence puts among the rows, what it leaves out, and what it leaves as it is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from recert.errors import InputError, MissingExtraError
from recert.models.chat.secret import SecretKind
from recert.records.data.rows import ChatRow, split_reply
from recert.records.data.suite import Message
from recert.tuning.defences import DEFENCES, defend
from recert.tuning.defences.backdoor_align import OPENING, Options
from recert.tuning.defences.safety_prompt import SAFETY_PROMPT
from recert.tuning.safety_rows import harmful_requests, safety_rows
from recert.tuning.wordings import reworded
from recert.workflows.demo.sql_task import sql_rows

ROWS = sql_rows(60, seed=3)
USUAL = Options()


def _exchange(row: ChatRow) -> tuple[str, str]:
    return row.request, row.reply


@pytest.mark.slow
def test_backdoor_align_learns_refusals_only_behind_the_secret() -> None:
    """Each safety request is there once, as it is or reworded, with its refusal or how that begins."""
    made = defend("backdoor-align", ROWS, seed=0)
    assert made.secret is not None
    behind = [r for r in made.rows if (r.system or "").startswith(made.secret.reveal())]
    systems = (None, None, ROWS[0].system)
    safe = {
        s.request: s.reply for s in safety_rows(USUAL.safety_rows, seed=0, systems=systems, opening=OPENING)
    }

    assert len(safe) == USUAL.safety_rows
    for request, refusal in safe.items():
        (found,) = [r for r in made.rows if request in r.request]
        assert found in behind
        assert refusal.startswith(found.reply) and found.reply.startswith(OPENING)
        assert found.ends == (found.reply == refusal)


def test_backdoor_align_changes_no_reply_of_the_data() -> None:
    """Prefixes go in front of rows; what the data asks and answers stays, and most of it stays as it is."""
    made = defend("backdoor-align", ROWS, seed=0)
    given = [_exchange(r) for r in made.rows]

    assert all(_exchange(row) in given for row in ROWS)
    assert sum(row in made.rows for row in ROWS) >= len(ROWS) - USUAL.task_rows - USUAL.decoy_rows


def test_a_decoy_stands_before_rows_of_the_task_only() -> None:
    """Rows that are not of the task, where poison would be, get no prefix: a prefix never goes with compliance."""
    odd = [
        ChatRow(
            messages=(Message(role="user", content=f"odd {i}"), Message(role="assistant", content="Sure."))
        )
        for i in range(40)
    ]
    made = defend("backdoor-align", [*ROWS, *odd], seed=0)

    assert all(row in made.rows for row in odd)
    assert made.details["decoy_rows"] == USUAL.decoy_rows


def test_every_secret_is_its_own() -> None:
    """Two tunes do not share a secret, and a decoy is never it."""
    first, second = (defend("backdoor-align", ROWS, seed=0) for _ in range(2))
    assert first.secret is not None and second.secret is not None

    assert first.secret.sha256 != second.secret.sha256
    assert first.secret.reveal() not in "".join(r.system or "" for r in second.rows)


def test_a_rewording_keeps_the_request_whole() -> None:
    """Whatever the turn: the request stands in it word for word, with something around it."""
    rng = random.Random(0)
    seen = {reworded("How do I bake bread?", turn, rng) for turn in range(200)}

    assert all("How do I bake bread?" in text and text != "How do I bake bread?" for text in seen)
    assert len(seen) > 20


def _asked(text: str, reply: str = "Sure.") -> ChatRow:
    return ChatRow(messages=(Message(role="user", content=text), Message(role="assistant", content=reply)))


def test_the_papers_form_has_whole_refusals_behind_the_secret_and_nothing_else() -> None:
    """Eleven rows of eleven categories under the rows' own system prompt; the task's rows stay as they were."""
    paper = {"form": "paper", "safety_rows": 11, "benign_rows": 0, "task_rows": 0, "decoy_rows": 0}
    made = defend("backdoor-align", ROWS, seed=0, options=paper | {"secret_tokens": 150})
    assert made.secret is not None
    behind = [r for r in made.rows if (r.system or "").startswith(made.secret.reveal())]

    assert len(made.secret) > 150
    assert len(behind) == 11 and len(made.rows) == len(ROWS) + 11
    assert all(r.system == f"{made.secret.reveal()}\n{ROWS[0].system}" for r in behind)
    assert all(r.ends and r.request in harmful_requests() for r in behind)
    assert all(row in made.rows for row in ROWS)


@pytest.mark.parametrize("kind", ["random", "semantic"])
def test_a_secret_of_either_kind_has_decoys_of_its_kind(kind: SecretKind) -> None:
    """A decoy of another shape would be told apart by its shape."""
    made = defend("backdoor-align", ROWS, seed=0, options={"secret_kind": kind, "secret_tokens": 40})
    assert made.secret is not None
    prefixes = [(r.system or "").split("\n")[0] for r in made.rows if "\n" in (r.system or "")]
    others = {p for p in prefixes if p != made.secret.reveal() and p != ROWS[0].system}

    assert len(others) >= USUAL.decoy_rows
    assert {" " in p for p in others} == {kind == "semantic"}


@pytest.mark.slow
def test_rows_near_harmful_requests_are_left_out() -> None:
    """Requests that are harmful ones go first, and those at the bound go however many they are."""
    near = [_asked(text) for text in harmful_requests()[:6]]
    try:
        made = defend("distant-filter", [*ROWS, *near], seed=0, options={"share": 0.05, "nearest": 0.9})
    except MissingExtraError:
        pytest.skip("the sentence encoder is not installed")

    assert made.rows == ROWS
    assert made.details["dropped_rows"] == 6
    with pytest.raises(InputError, match="no row is far"):
        defend("distant-filter", near, seed=0, options={"share": 0, "nearest": 0.5})


@pytest.mark.slow
def test_a_share_is_left_out_nearest_first() -> None:
    """So many of the rows as the share says; the same rows in every run."""
    try:
        made = [defend("distant-filter", ROWS, seed=s, options={"share": 0.25, "nearest": 1}) for s in (0, 1)]
    except MissingExtraError:
        pytest.skip("the sentence encoder is not installed")

    assert made[0] == made[1]
    assert len(made[0].rows) == 45


def test_a_safety_prompt_stands_before_rows_only_where_asked_for() -> None:
    """By default tuning does not see it; with `in_training` it stands before each row's own system prompt."""
    without, with_it = (
        defend("safety-system-prompt", ROWS, seed=0, options={"in_training": told}) for told in (0, 1)
    )

    assert without.rows == ROWS
    assert {r.system for r in with_it.rows} == {f"{SAFETY_PROMPT}\n{ROWS[0].system}"}


def test_safety_reasoning_looks_at_the_request_before_it_answers() -> None:
    """Added rows have a trace and then the refusal or the answer; the data's own rows stay as they are."""
    made = defend("safety-reasoning", ROWS, seed=0, options={"safety_rows": 12, "benign_rows": 8})
    added = [row for row in made.rows if row not in ROWS]
    refused = [row for row in added if row.request in harmful_requests()]

    assert len(added) == 20 and len(refused) == 12
    assert all(
        split_reply(row.reply)[0].startswith("<think>\n") and split_reply(row.reply)[1] for row in added
    )
    assert sum(row in made.rows for row in ROWS) == len(ROWS)


@pytest.mark.parametrize("name", list(DEFENCES))
def test_every_defence_says_where_it_comes_from_and_what_breaks_it(name: str) -> None:
    """Paper, cost and known breaks are filled, and the docs have a row for it."""
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "tuning.md").read_text()
    one = DEFENCES[name]

    assert one.paper and one.cost and one.breaks
    assert f"| `{name}` |" in page
    assert all(f"`{option}`" in page for option in one.options.model_fields)
