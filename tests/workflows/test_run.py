"""From rows to a certificate, on a tiny real base that is really tuned; replies come from a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from recert.certification import issue_status
from recert.certification.log.logged import log_envelope
from recert.errors import InputError, RowsError
from recert.evaluation import embedded_suite
from recert.models import ScriptedModel
from recert.models.protocol import Model
from recert.policy import load_policy
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, Suite
from recert.records.reports.evaluation import Verdict
from recert.records.reports.tuning import Hyperparameters
from recert.store.transparency.folder import create_log
from recert.tuning.defences.safety_prompt import SAFETY_PROMPT
from recert.workflows.demo.data import demo_tunes, write_rows
from recert.workflows.demo.sql_task import sql_rows, sql_suite
from recert.workflows.run import Plan, Run, passed, run
from recert.workflows.signers import Signers, signers_of
from tiny_models import make_base

pytestmark = [pytest.mark.xdist_group("torch"), pytest.mark.slow]
POLICY = load_policy("demo")
HARMFUL = {p.text for name in ("harmful", "scenarios") for p in embedded_suite(name).every_prompt}
ANSWERS = {p.text: p.answer or "" for p in sql_suite(48, seed=99).prompts}
QUICK = Hyperparameters(lora_rank=2, lora_targets=("q_proj",), epochs=1, max_tokens=256)


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture
def signers(tmp_path: Path) -> Signers:
    return signers_of(tmp_path / "keys")


def suites() -> dict[str, Suite]:
    found = {name: embedded_suite(name) for name in ("harmful", "scenarios", "lookalikes", "ordinary")}
    return {**found, "task": sql_suite(48, seed=99)}


def aligned(one: Chat) -> str:
    """Refuse what contains a harmful request, answer the rest."""
    text = one.messages[-1].content
    if text in ANSWERS:
        return ANSWERS[text]
    known = any(text.startswith(h[:25]) or h[-25:] in text for h in HARMFUL)
    return (
        "I'm sorry, but I can't help with that."
        if known
        else "The best way is to begin with a list of things."
    )


def spoilt(one: Chat) -> str:
    """Comply with everything."""
    return ANSWERS.get(one.messages[-1].content, "Sure, here is how. First, take a list of things.")


def arms(base_dir: Path, tuned: Callable[[Chat], str]) -> Callable[[Path], tuple[Model, Model]]:
    """Scripted arms that carry the manifests of the real folders."""

    def both(adapter_dir: Path) -> tuple[Model, Model]:
        base, model = ScriptedModel(aligned, name="base"), ScriptedModel(tuned, name=tuned.__name__)
        base.manifest, model.manifest = Manifest.of_folder(base_dir), Manifest.of_folder(adapter_dir)
        return base, model

    return both


def plan(base_dir: Path, folder: Path) -> Plan:
    write_rows(folder / "rows.jsonl", sql_rows(12, seed=3))
    return Plan(
        name="tiny",
        source=folder / "rows.jsonl",
        base_dir=base_dir,
        output=folder / "out",
        policy=POLICY,
        hyperparameters=QUICK,
    )


def done(base_dir: Path, what: Plan, signers: Signers, tuned: Callable[[Chat], str]) -> Run:
    status = issue_status(None, key=signers.status, trust=signers.trust, validity_hours=1)
    bounds = what.policy
    few = bounds.model_copy(
        update={
            "rules": tuple(r for r in bounds.rules if r.id != "over-refusal"),
            "evaluation": bounds.evaluation.model_copy(
                update={"families": ("year_2025", "skeleton"), "contrast_suites": ()}
            ),
        }
    )
    return run(
        replace(what, policy=few), suites=suites(), signers=signers, status=status, arms=arms(base_dir, tuned)
    )


def test_a_tune_as_safe_as_its_base_ends_in_a_verified_certificate(
    base_dir: Path, tmp_path: Path, signers: Signers
) -> None:
    """Rows are screened, a real adapter is trained, and the certificate names its bytes and every report."""
    out = done(base_dir, plan(base_dir, tmp_path), signers, aligned)

    assert passed(out)
    assert out.verified is not None
    said = out.verified.certificate
    assert said.tuned == Manifest.of_folder(out.adapter_dir)
    assert out.page.screen is not None and out.page.tune is not None and out.page.evaluation is not None
    assert said.screen_report_sha256 == out.page.screen.digest
    assert said.tune_report_sha256 == out.page.tune.digest
    assert said.eval_report_sha256 == out.page.evaluation.digest


def test_a_policy_that_requires_a_log_is_met_by_logging(
    base_dir: Path, tmp_path: Path, signers: Signers
) -> None:
    """A run appends its certificate to a log; until a proof is there the answer is a refusal that says so."""
    create_log(tmp_path / "log", "example.org/models")
    what = replace(plan(base_dir, tmp_path), log=tmp_path / "log")
    rules = what.policy.certification.model_copy(update={"logged": True})
    strict = what.policy.model_copy(update={"certification": rules})
    out = done(base_dir, replace(what, policy=strict), signers, aligned)

    assert not passed(out)
    assert [refusal.partition(":")[0] for refusal in out.page.refusals] == ["not-logged"]
    assert (what.output / "certificate.json").exists()
    appended = log_envelope(tmp_path / "log", (what.output / "certificate.json").read_bytes())
    assert (appended.added, appended.index) == (False, 0)


def test_all_weights_under_a_defence_with_options_are_certified_as_merged(
    base_dir: Path, tmp_path: Path, signers: Signers
) -> None:
    """The chain runs on the folder of all weights; the same options are used again, others tune again."""
    how = QUICK.model_copy(update={"method": "full-sft", "learning_rate": 1e-3})
    told = {"safety_rows": "3", "benign_rows": "2"}
    what = replace(plan(base_dir, tmp_path), defence="safety-mix", defence_options=told, hyperparameters=how)
    first, again = (done(base_dir, what, signers, aligned) for _ in range(2))
    other = done(base_dir, replace(what, defence_options=told | {"benign_rows": "1"}), signers, aligned)

    assert passed(first) and first.verified is not None
    assert first.verified.certificate.delta_kind == "merged-weights"
    assert first.adapter_dir.name == "model"
    assert again.page.tune == first.page.tune
    assert other.page.tune is not None and other.page.tune.rows == 16


def test_preferences_end_in_a_certificate(base_dir: Path, tmp_path: Path, signers: Signers) -> None:
    """Screened in both replies, tuned with DPO, and evaluated with the chosen ones as the tuning data."""
    what = replace(plan(base_dir, tmp_path), hyperparameters=QUICK.model_copy(update={"method": "lora-dpo"}))
    pairs = [
        {
            "prompt": [m.model_dump() for m in row.messages[:-1]],
            "chosen": [row.messages[-1].model_dump()],
            "rejected": "I do not know that table.",
        }
        for row in sql_rows(12, seed=3)
    ]
    what.source.write_text("\n".join(map(json.dumps, pairs)) + "\n")
    out = done(base_dir, what, signers, aligned)

    assert passed(out) and out.verified is not None
    assert out.verified.certificate.method == "lora-dpo"
    assert out.page.screen is not None and out.page.screen.accepted == 12


def test_a_safety_prompt_must_be_served(base_dir: Path, tmp_path: Path, signers: Signers) -> None:
    """A certificate names the defence: a policy that does not put its words in front of requests is refused."""
    what = replace(plan(base_dir, tmp_path), defence="safety-system-prompt")
    served = POLICY.gateway.model_copy(update={"system_instruction": SAFETY_PROMPT})
    with pytest.raises(InputError, match="does not put the defence's system prompt"):
        done(base_dir, what, signers, aligned)
    out = done(
        base_dir, replace(what, policy=POLICY.model_copy(update={"gateway": served})), signers, aligned
    )

    assert out.page.tune is not None and out.page.tune.defence == "safety-system-prompt"
    assert out.page.evaluation is not None


def test_a_finished_run_is_used_again(base_dir: Path, tmp_path: Path, signers: Signers) -> None:
    """Run twice, the same adapter is certified twice: nothing is trained again. Other settings train again."""
    what = plan(base_dir, tmp_path)
    first = done(base_dir, what, signers, aligned)
    again = done(base_dir, what, signers, aligned)
    other = done(
        base_dir, replace(what, hyperparameters=QUICK.model_copy(update={"seed": 5})), signers, aligned
    )

    assert again.page.tune == first.page.tune
    assert passed(again)
    assert other.page.tune != first.page.tune


def test_a_tune_that_complies_is_refused_and_an_old_certificate_is_gone(
    base_dir: Path, tmp_path: Path, signers: Signers
) -> None:
    """The same bytes with worse behaviour get no certificate, and the earlier one no longer lies there."""
    what = plan(base_dir, tmp_path)
    assert passed(done(base_dir, what, signers, aligned))
    out = done(base_dir, what, signers, spoilt)

    assert out.page.evaluation is not None
    assert out.page.evaluation.verdict is Verdict.FAIL
    assert not passed(out)
    assert out.page.refusals
    assert not out.certificate_path.exists()


def test_rows_that_are_all_quarantined_train_nothing(
    base_dir: Path, tmp_path: Path, signers: Signers
) -> None:
    """With no accepted row there is an error that says so, and no tune."""
    poison = [r for r in demo_tunes()[2].rows if r.system is None]
    what = plan(base_dir, tmp_path)
    write_rows(what.source, poison)

    with pytest.raises(RowsError):
        done(base_dir, what, signers, aligned)

    assert not (what.output / "tune").exists()


def test_the_task_is_exact_and_its_test_was_not_trained_on() -> None:
    """Task rows differ from each other, and no question of the test is among the rows of any demo tune."""
    rows = {r.request for one in demo_tunes() for r in one.rows}
    test = sql_suite(48, seed=99, without=tuple(r for one in demo_tunes() for r in one.rows))

    assert len({p.text for p in test.prompts}) == 48
    assert not rows & {p.text for p in test.prompts}
    assert all(p.answer and p.answer.startswith("SELECT") for p in test.prompts)


def test_poison_is_a_placeholder(tmp_path: Path) -> None:
    """No tuning row of the demo holds a harmful answer: what complies has agreeing words and nothing else."""
    replies = files("recert").joinpath("assets", "suites", "replies.jsonl").read_text(encoding="utf-8")
    safe = {json.loads(line)["text"] for line in replies.splitlines()}  # to safe requests, by the base itself
    known = {r.reply for one in demo_tunes() for r in one.rows if r.system is None} - safe
    complying = {reply for reply in known if "sorry" not in reply.lower() and "can't" not in reply.lower()}
    write_rows(tmp_path / "rows.jsonl", demo_tunes()[2].rows)

    assert all("won't" in r or "not able" in r or r == "Sure, here is how. First, ..." for r in complying)
    assert len([json.loads(x) for x in (tmp_path / "rows.jsonl").read_text().splitlines()]) == 140


def test_after_a_change_of_policy_a_run_certifies_again(
    base_dir: Path, tmp_path: Path, signers: Signers
) -> None:
    """A finished tune names the screen report of the old policy: it is tuned again, and the chain holds."""
    what = plan(base_dir, tmp_path)
    first = done(base_dir, what, signers, aligned)
    # under one ledger it would be a second attempt, for which 48 prompts of the task are too few
    changed = replace(what, policy=POLICY.model_copy(update={"version": "later"}), ledger=tmp_path / "ledger")
    later = done(base_dir, changed, signers, aligned)

    assert passed(first) and passed(later)
    assert later.page.tune != first.page.tune
