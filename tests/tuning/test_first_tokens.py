"""The loss that holds the first tokens: what the paper's formula says, and its limits."""

from __future__ import annotations

import math

import pytest

from recert.errors import InputError
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message
from recert.tuning.defences import DEFENCES, read_options
from recert.tuning.defences.first_tokens import FirstTokens, Options, betas, constrained
from recert.workflows.demo.sql_task import sql_rows
from tiny_models import make_base

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from recert.records.reports.tuning import Hyperparameters  # noqa: E402
from recert.tuning.completion_loss import completion_loss, pad_left  # noqa: E402
from recert.tuning.encoding import encode_rows  # noqa: E402

pytestmark = pytest.mark.xdist_group("torch")
HOW = Hyperparameters(max_tokens=256)


def plain(now: float, before: float, beta: float) -> float:
    """The paper's loss of a token, -2 / beta * log sigmoid(beta * r), less its value at r = 0, a constant."""
    ratio = -now - -before  # of log likelihoods
    paper = -(2 / beta) * math.log(1 / (1 + math.exp(-beta * ratio)))
    return before + paper - (2 / beta) * math.log(2)


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0, 20.0])
@pytest.mark.parametrize(("now", "before"), [(3.0, 3.0), (2.5, 3.0), (3.5, 3.0), (0.1, 4.0), (4.0, 0.1)])
def test_a_token_costs_what_the_formula_says(beta: float, now: float, before: float) -> None:
    """For any beta, above and below the model that tuning began with."""
    got = constrained(torch.tensor([now]), torch.tensor([before]), torch.tensor([beta]))

    assert got.item() == pytest.approx(plain(now, before, beta), abs=1e-5)


def test_without_a_constraint_it_is_the_usual_loss() -> None:
    """At beta = 0, and as near to it as float32 can tell, loss and gradient are those of the likelihood."""
    now = torch.tensor([2.0, 0.5, 3.0], requires_grad=True)
    before = torch.tensor([1.0, 4.0, 3.0])
    got = constrained(now, before, torch.tensor([0.0, 0.0, 1e-3]))
    got.sum().backward()

    assert got.tolist() == pytest.approx([2.0, 0.5, 3.0], abs=2e-3)
    assert now.grad.tolist() == pytest.approx([1.0, 1.0, 1.0], abs=2e-3)


def test_a_great_beta_only_pulls_back() -> None:
    """A token that is likelier than it was is not learned further; one that fell behind is pulled twice as hard."""
    now = torch.tensor([1.0, 3.0], requires_grad=True)
    constrained(now, torch.tensor([2.0, 2.0]), torch.tensor([200.0, 200.0])).sum().backward()

    assert now.grad.tolist() == pytest.approx([0.0, 2.0], abs=1e-5)


def test_the_first_step_has_the_usual_gradient() -> None:
    """Where nothing has moved yet every beta has the gradient of the usual loss."""
    now = torch.tensor([1.0, 1.0, 1.0], requires_grad=True)
    constrained(now, torch.ones(3), torch.tensor([0.1, 2.0, 50.0])).sum().backward()

    assert now.grad.tolist() == pytest.approx([1.0, 1.0, 1.0], abs=1e-5)


def test_the_held_tokens_are_counted_from_the_trace_and_from_the_answer() -> None:
    """Of a reply with a trace of three tokens and an answer of four; two tokens are early."""
    told = {"first_beta": 9.0, "early_beta": 5.0, "late_beta": 1.0, "early_tokens": 2}
    both, trace, answer = (
        betas(7, 3, Options(counts_from=part, **told))  # type: ignore[arg-type]
        for part in ("both", "trace", "answer")
    )

    assert both == [9.0, 5.0, 1.0, 9.0, 5.0, 1.0, 1.0]
    assert trace == [9.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert answer == [1.0, 1.0, 1.0, 9.0, 5.0, 1.0, 1.0]
    assert betas(3, 0, Options(counts_from="trace", **told)) == [9.0, 5.0, 1.0]  # type: ignore[arg-type]


def test_a_step_holds_the_rows_own_first_tokens(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Before the first step the loss is the usual one; marks stand on the reply's tokens, padded or not."""
    folder = make_base(tmp_path_factory.mktemp("tiny") / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    thought = "<think>\nA table is asked for.\n</think>\n\nSELECT pages FROM books"
    asked = Message(role="user", content="Table: books")
    rows = [*sql_rows(5, seed=1), ChatRow(messages=(asked, Message(role="assistant", content=thought)))]
    encoded = encode_rows(tokenizer, rows, HOW)
    training = FirstTokens(Options())
    training.begin(model, encoded, tokenizer=tokenizer, pad_id=0, batch_size=4)
    batch = pad_left(encoded, 0)
    last = encoded[-1]
    at = last["reply_at"]

    assert training.loss(model, batch).item() == pytest.approx(completion_loss(model, batch).item(), abs=1e-4)
    assert last["beta"][:at] == [0.0] * at
    assert last["beta"][at : at + 2] == [0.5, 2.0]
    assert last["beta"][at + last["trace_tokens"] :][:2] == [0.5, 2.0]
    assert tokenizer.decode(last["input_ids"][at:][: last["trace_tokens"]]).endswith("</think>\n\n")


def test_an_option_that_cannot_be_is_named() -> None:
    """A wrong name and a wrong value say which options there are."""
    for given in ({"beta": "1"}, {"early_beta": "much"}, {"early_tokens": "0"}):
        with pytest.raises(InputError) as caught:
            read_options(DEFENCES["first-tokens"].options, given, name="first-tokens")

        assert "early_beta=2.0" in caught.value.facts["known"]
        assert caught.value.facts["option"] == next(iter(given))
