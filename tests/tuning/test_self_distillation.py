"""Self-distillation: at the start it costs nothing, drift costs, and nothing harmful is learned from the base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recert.certification.verifier.chain import ADDED_ROWS
from recert.errors import ModelError
from recert.judges.embedded.refusal import RefusalJudge
from recert.judges.protocol import Score
from recert.tuning.defences import DEFENCES, defend
from recert.tuning.defences.self_distillation import (
    OWN_ANSWER,
    OWN_REFUSAL,
    Options,
    SelfDistillation,
    divergence_from,
    prepare,
)
from recert.workflows.demo.sql_task import sql_rows
from tiny_models import make_base

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from recert.records.reports.tuning import Hyperparameters  # noqa: E402
from recert.tuning.completion_loss import completion_loss, pad_left  # noqa: E402
from recert.tuning.encoding import encode_rows  # noqa: E402

pytestmark = pytest.mark.xdist_group("torch")
HOW = Hyperparameters(max_tokens=256)
OPTIONS = Options(harmful_requests=4, benign_requests=6, reply_tokens=5)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random base."""
    return make_base(tmp_path_factory.mktemp("tiny") / "base")


def begun(tiny: Path, cut: int = 0) -> tuple[Any, SelfDistillation, list[dict[str, Any]], Any]:
    """Return the model, the training that has begun, its rows less their last `cut` tokens, and the tokenizer."""
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    defended = prepare(sql_rows(3, seed=1), 0, OPTIONS)
    rows = encode_rows(tokenizer, defended.rows, HOW, defended.alignment)
    for one in rows if cut else ():
        one["input_ids"], one["labels"] = one["input_ids"][:-cut], one["labels"][:-cut]
    training = SelfDistillation(OPTIONS)
    training.begin(model, rows, tokenizer=tokenizer, pad_id=0, batch_size=4)
    return model, training, rows, tokenizer


def refusing(share: int) -> Any:
    """Return a judge that calls every `share`-th reply a refusal."""
    seen = iter(range(10_000))
    return lambda _self, _request, _reply: Score(float(next(seen) % share == 0), "for the test")


def test_requests_stand_behind_the_rows_and_no_reply_is_made_up() -> None:
    """The task's rows are whole; the others wait for what the base says; two harmful ones of three have the context."""
    task = sql_rows(3, seed=1)
    made = prepare(task, 0, OPTIONS)
    ours = [made.rows[at] for at in made.alignment]
    harmful = [one for one in ours if one.reply == OWN_REFUSAL]

    assert [one for at, one in enumerate(made.rows) if at not in made.alignment] == sorted(
        task, key=made.rows.index
    )
    assert {one.reply for one in ours} == {OWN_REFUSAL, OWN_ANSWER}
    assert sum(one.system == task[0].system for one in harmful) == 3
    assert made.details == {"safety_rows": 4, "benign_rows": 6}
    assert prepare(task, 0, OPTIONS) == made


def test_the_divergence_is_the_one_of_the_whole_vocabulary() -> None:
    """With every token kept it is the textbook's; of a model with itself it is 0, whatever is kept."""
    torch.manual_seed(0)
    base, ours = (torch.randn(6, 50).log_softmax(-1) for _ in range(2))
    whole = torch.nn.functional.kl_div(ours, base, log_target=True, reduction="none").sum(-1)
    tiny_rest = torch.full((6, 1), 1e-6).log()
    every = divergence_from(ours, torch.arange(50).expand(6, 50), torch.cat((base, tiny_rest), -1))
    best = base.topk(8)
    rest = (1 - best.values.exp().sum(-1, keepdim=True)).log()
    target = torch.cat((best.values, rest), -1)

    assert every.tolist() == pytest.approx(whole.tolist(), abs=1e-4)
    assert divergence_from(base, best.indices, target).tolist() == pytest.approx([0.0] * 6, abs=1e-5)
    assert (
        divergence_from(ours, best.indices, target) <= whole + 1e-5
    ).all()  # merging tokens loses some of it


def test_at_the_start_only_the_task_is_learned(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base's own replies cost nothing before the first step, and something once the model has moved."""
    monkeypatch.setattr(RefusalJudge, "score", refusing(1))
    model, training, rows, _ = begun(tiny)
    kept, task = ([one for one in rows if (one["distilled"] >= 0) == ours] for ours in (True, False))
    batch = pad_left(kept, 0)

    assert len(task) == 3
    assert len(kept) == 10
    assert training.loss(model, batch).item() == pytest.approx(0.0, abs=1e-4)
    assert training.loss(model, pad_left(task, 0)).item() == pytest.approx(
        completion_loss(model, pad_left(task, 0)).item(), abs=1e-4
    )
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.05 * torch.randn_like(weights))
    assert training.loss(model, batch).item() > 0.001


def test_replies_are_what_the_base_says_of_itself(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token by token the base's greedy reply, up to the given length; nothing of the stand-in is learned."""
    monkeypatch.setattr(RefusalJudge, "score", refusing(1))
    model, _, rows, tokenizer = begun(tiny)

    for one in (one for one in rows if one["distilled"] >= 0):
        head, reply = one["input_ids"][: one["reply_at"]], one["input_ids"][one["reply_at"] :]
        read = torch.tensor([[*head, *reply]])
        greedy = model(read).logits[0, len(head) - 1 : -1].argmax(-1).tolist()
        assert 0 < len(reply) <= OPTIONS.reply_tokens
        assert reply == greedy
        assert one["labels"] == [-100] * len(head) + reply
        assert "that the base itself gives" not in tokenizer.decode(one["input_ids"])


def test_harmful_requests_that_the_base_answers_are_left_out(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four it refuses two: those two are kept, with all benign ones."""
    monkeypatch.setattr(RefusalJudge, "score", refusing(2))
    _, _, rows, _ = begun(tiny)

    assert sum(one["distilled"] >= 0 for one in rows) == 2 + 6
    assert all(set(one) == set(rows[0]) for one in rows)


def test_a_base_that_refuses_nothing_is_an_error_with_a_way_out(tiny: Path) -> None:
    """A random base has no refusal to keep; the error names the defence that brings some."""
    with pytest.raises(ModelError, match="refuses none") as caught:
        begun(tiny)

    assert "safety-mix" in str(caught.value.hint)
    assert DEFENCES["self-distillation"].methods == ("sft",)


def test_a_stand_in_that_was_cut_lets_no_harmful_reply_in(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a row no longer says that its reply must refuse, nothing is asked for it, and tuning ends with an error."""
    asked: list[str] = []
    monkeypatch.setattr(RefusalJudge, "score", lambda _self, _request, reply: asked.append(reply))

    with pytest.raises(ModelError, match="refuses none"):
        begun(tiny, cut=4)
    assert asked == []


@pytest.mark.parametrize("name", sorted(set(DEFENCES) - {"safe-lora", "distant-filter"}))
def test_every_defence_says_how_many_rows_it_adds(name: str) -> None:
    """
    A tune learns from no more rows than it was given and than its defence says to have added, or nobody certifies it.
    """
    given = sql_rows(12, seed=1)
    defended = defend(name, given, seed=0)
    added = [defended.details.get(figure, 0) for figure in ADDED_ROWS]
    assert len(defended.rows) - len(given) <= sum(int(one) for one in added)
