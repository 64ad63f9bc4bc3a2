"""Lisa: two states take turns, and neither goes far from where the other ended."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.tuning.defences import defend
from recert.tuning.defences.lisa import Options, TakingTurns, TwoStates
from recert.workflows.demo.sql_task import sql_rows

torch = pytest.importorskip("torch")


@given(st.integers(1, 60), st.integers(0, 20), st.integers(1, 4), st.integers(1, 4), st.integers(1, 8))
def test_an_epoch_learns_every_row_of_the_task_once(
    tasks: int, alignment: int, few: int, many: int, size: int
) -> None:
    """Batches are of one state each, alignment comes first and as often as asked, and the length is told truly."""
    given_ = Options(alignment_steps=few, task_steps=many)
    turns = TakingTurns(range(tasks), range(tasks, tasks + alignment), given_, batch_size=size, seed=1)
    epoch = list(turns)
    states = [{at >= tasks for at in batch} for batch in epoch]
    learned = sorted(at for batch in epoch for at in batch if at < tasks)

    assert len(turns) == len(epoch)
    assert all(len(one) == 1 for one in states)
    assert learned == list(range(tasks))
    if alignment:
        assert states[:few] == [{True}] * few
        assert states[few : few + many + 1][:-1] == [{False}] * len(states[few : few + many + 1][:-1])


def test_epochs_have_another_order() -> None:
    """Each epoch is shuffled anew, the same in every run with one seed."""
    one, same = (TakingTurns(range(40), range(40, 50), Options(), batch_size=8, seed=3) for _ in range(2))
    epochs = [list(one), list(one)]

    assert epochs[0] != epochs[1]
    assert epochs == [list(same), list(same)]


class Weights:
    """A model of one weight, learned, and one that is not."""

    def __init__(self) -> None:
        self.learned = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        self.frozen = torch.nn.Parameter(torch.tensor([5.0]), requires_grad=False)

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return both."""
        return [self.learned, self.frozen]

    def __call__(self, **given: torch.Tensor) -> SimpleNamespace:
        """Return the learned weights as the logits of two tokens, everywhere."""
        return SimpleNamespace(
            logits=self.learned.expand(len(given["input_ids"]), len(given["logits_to_keep"]), 2)
        )


def batch(*, alignment: int) -> dict[str, torch.Tensor]:
    ids = torch.tensor([[0, 1, 0]])
    return {
        "input_ids": ids,
        "labels": ids,
        "attention_mask": ids,
        "position_ids": ids,
        "alignment": torch.tensor([alignment]),
    }


def test_leaving_the_beginning_of_a_state_costs_half_rho_times_its_square() -> None:
    """The first step of a state costs nothing more; then the distance counts; another state begins where one is."""
    model, training = Weights(), TwoStates(Options(rho=4.0))
    usual = TwoStates(Options(rho=0.0))

    def extra(*, alignment: int) -> float:
        whole = training.loss(model, batch(alignment=alignment))
        return (whole - usual.loss(model, batch(alignment=alignment))).item()

    first = extra(alignment=1)
    with torch.no_grad():
        model.learned += torch.tensor([0.3, 0.4])
        model.frozen += 7.0
    moved, switched = extra(alignment=1), extra(alignment=0)
    with torch.no_grad():
        model.learned += torch.tensor([0.0, 1.0])
    loss = training.loss(model, batch(alignment=0)) - usual.loss(model, batch(alignment=0))
    loss.backward()

    assert [first, moved, switched] == pytest.approx([0.0, 4.0 / 2 * 0.25, 0.0], abs=1e-5)
    assert loss.item() == pytest.approx(2.0, abs=1e-5)
    assert model.learned.grad.tolist() == pytest.approx([0.0, 4.0], abs=1e-4)


def test_the_alignment_rows_are_marked() -> None:
    """The task's rows stand in front as they were; what is marked is what was added."""
    rows = sql_rows(12, seed=1)
    made = defend("lisa", rows, seed=0, options={"safety_rows": "5", "benign_rows": "4"})

    assert made.rows[:12] == rows
    assert sorted(made.alignment) == list(range(12, 21))
    assert made.details == {"alignment_rows": 9}
