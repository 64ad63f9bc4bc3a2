"""What a defence puts among the rows, and what it leaves as it is."""

from __future__ import annotations

import random

from recert.pipeline.sql_task import sql_rows
from recert.records import ChatRow, Message
from recert.tuning.defences import defend
from recert.tuning.defences.backdoor_align import OPENING, Options
from recert.tuning.safety_rows import safety_rows
from recert.tuning.wordings import reworded

ROWS = sql_rows(60, seed=3)
USUAL = Options()


def _exchange(row: ChatRow) -> tuple[str, str]:
    return row.request, row.reply


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
