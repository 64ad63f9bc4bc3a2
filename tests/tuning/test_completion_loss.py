"""The loss on the completion only is the loss that transformers computes row by row."""

from __future__ import annotations

import pytest

from tiny_models import make_base

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from recert.tuning.completion_loss import completion_loss, pad_left  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = make_base(tmp_path_factory.mktemp("base"))
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def row(prompt: list[int], reply: list[int]) -> dict[str, list[int]]:
    return {"input_ids": prompt + reply, "labels": [-100] * len(prompt) + reply}


ROWS = [
    row([5, 6, 7], [8, 9, 10, 11]),
    row([12, 13, 14, 15, 16, 17, 18], [19]),
    row([20] * 11, [21, 22]),
]


def theirs(model, rows):
    """Sum of each row's own loss, unpadded, over all labelled tokens."""
    total, count = 0.0, 0
    for one in rows:
        labels = torch.tensor([one["labels"]])
        learned = int((labels[:, 1:] != -100).sum())
        loss = model(input_ids=torch.tensor([one["input_ids"]]), labels=labels).loss
        total, count = total + loss * learned, count + learned
    return total / count


def test_loss_and_gradient_are_those_of_the_rows_alone(model):
    wanted = theirs(model, ROWS)
    wanted.backward()
    gradient = model.model.layers[0].self_attn.q_proj.weight.grad.clone()
    model.zero_grad()
    got = completion_loss(model, pad_left(ROWS, pad_id=0))
    got.backward()
    assert got.item() == pytest.approx(wanted.item(), abs=1e-5)
    assert torch.allclose(model.model.layers[0].self_attn.q_proj.weight.grad, gradient, atol=1e-5)
    model.zero_grad()


def test_a_reply_that_starts_the_row_loses_its_first_token_only(model):
    rows = [row([], [5, 6, 7])]
    assert completion_loss(model, pad_left(rows, 0)).item() == pytest.approx(
        theirs(model, rows).item(), abs=1e-5
    )


def test_padding_is_on_the_left_and_positions_count_from_the_first_token():
    batch = pad_left([row([5], [6]), row([7, 8], [9, 10])], pad_id=3)
    assert batch["input_ids"].tolist() == [[3, 3, 5, 6], [7, 8, 9, 10]]
    assert batch["labels"].tolist() == [[-100, -100, -100, 6], [-100, -100, 9, 10]]
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert batch["position_ids"].tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


def test_the_step_divides_by_the_tokens_it_is_given(model):
    batch = pad_left(ROWS, 0)
    whole = completion_loss(model, batch).item()
    assert completion_loss(model, batch, items=14).item() == pytest.approx(whole / 2, rel=1e-5)


def test_no_learned_token_is_a_loss_of_zero(model):
    nothing = [{"input_ids": [5, 6, 7], "labels": [-100] * 3}]
    assert completion_loss(model, pad_left(nothing, 0)).item() == 0.0
