"""Inputs that are missing, empty, cut off, damaged or open to others: a clear error, and nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Run
from .world import COMMANDS, files

TURN = ("user", "assistant")
HARM: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: shutil.rmtree(path) if path.is_dir() else path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "broken": lambda path: path.write_bytes(b'{"messages": [\n'),
    "open": lambda path: path.chmod(0o644),
    "secretive": lambda path: path.write_text(
        json.dumps({"messages": [{"role": r, "content": "AKIA" + "QWERTYUIOPASDFGH"} for r in TURN]}) + "\n"
    ),
}
LEFT = ("audit.jsonl", "cache/", "out/status.json", "recert-state/")
"""Whole in themselves, and made before the input is read: an empty log, an empty cache, a signed status list."""

NO_ANSWER = [
    ("screen", "rows.jsonl", "secretive", "screening accepted no row"),
    ("tune", "rows.jsonl", "gone", "cannot read rows"),
    ("tune", "rows.jsonl", "empty", "no accepted rows"),
    ("tune", "rows.jsonl", "broken", "not a chat row"),
    ("tune", "base", "gone", "no such model"),
    ("evaluate", "tuned", "gone", "no such model folder"),
    ("evaluate", "base", "gone", "no such model"),
    ("evaluate", "policy.toml", "gone", "cannot read the policy"),
    ("evaluate", "policy.toml", "broken", "policy is not TOML"),
    ("evaluate", "policy.toml", "empty", "policy is invalid"),
    ("evaluate", "task.jsonl", "gone", "cannot read the suite"),
    ("evaluate", "task.jsonl", "empty", "suite has no prompts"),
    ("evaluate", "task.jsonl", "broken", "suite is not JSON"),
    ("hunt", "tuned", "gone", "no such model folder"),
    ("hunt", "base", "gone", "no such model"),
    ("hunt", "policy.toml", "gone", "cannot read the policy"),
    ("hunt", "policy.toml", "broken", "policy is not TOML"),
    ("stress", "base", "gone", "no such model"),
    ("stress", "policy.toml", "gone", "cannot read the policy"),
    ("stress", "policy.toml", "broken", "policy is not TOML"),
    ("stress", "task.jsonl", "broken", "suite is not JSON"),
    ("stress", "task.jsonl", "gone", "cannot read the suite"),
    ("stress", "rows.jsonl", "gone", "cannot read rows"),
    ("stress", "rows.jsonl", "broken", "not a chat row"),
    ("stress", "rows.jsonl", "empty", "payload file holds no rows"),
    ("certify", "evaluation", "gone", "cannot read file"),
    ("certify", "evaluation/eval-report.json", "empty", "not valid JSON"),
    ("certify", "evaluation/eval-report.json", "half", "not valid JSON"),
    ("certify", "evaluation/outcomes.jsonl", "gone", "cannot read file"),
    ("certify", "evaluation/outcomes.jsonl", "half", "evidence is not what the report was made from"),
    ("certify", "keys/evaluator.pem", "gone", "cannot read the key"),
    ("certify", "keys/evaluator.pem", "open", "others may read this private key"),
    ("certify", "keys/evaluator.pem", "half", "not an unencrypted private key"),
    ("certify", "keys/approver.pub", "half", "not a public key file"),
    ("certify", "tuned", "gone", "no such model folder"),
    ("approve", "draft.json", "gone", "cannot read certificate"),
    ("approve", "draft.json", "empty", "not valid JSON"),
    ("approve", "draft.json", "half", "draft.json"),
    ("approve", "keys/approver.pem", "open", "others may read this private key"),
    ("approve", "keys/approver.pub", "gone", "cannot read the key"),
    ("verify", "certificate.json", "gone", "cannot read certificate"),
    ("verify", "keys", "gone", "cannot read the key"),
    ("verify", "keys/approver.pub", "half", "not a public key file"),
    ("verify", "tuned", "gone", "no such model folder"),
    ("verify", "base", "gone", "no such model"),
    ("renew", "watch-report.json", "gone", "cannot read file"),
    ("renew", "watch-report.json", "half", "not valid JSON"),
    ("renew", "keys/approver.pem", "open", "others may read this private key"),
    ("revoke", "status.json", "gone", "cannot read status list"),
    ("revoke", "status.json", "half", "not a status list"),
    ("revoke", "keys/status.pem", "open", "others may read this private key"),
    ("status", "status.json", "empty", "not a status list"),
    ("status", "keys/status.pem", "gone", "cannot read the key"),
    ("serve", "certificate.json", "gone", "cannot read certificate"),
    ("serve", "status.json", "gone", "cannot read status list"),
    ("serve", "policy.toml", "broken", "policy is not TOML"),
    ("serve", "keys", "gone", "cannot read the key"),
    ("serve", "tuned", "gone", "no such model folder"),
    ("watch", "certificate.json", "gone", "cannot read certificate"),
    ("watch", "task.jsonl", "broken", "suite is not JSON"),
    ("watch", "keys/status.pem", "gone", "cannot read the key"),
    ("watch", "tuned", "gone", "no such model folder"),
    ("run", "rows.jsonl", "gone", "cannot read tuning rows"),
    ("run", "rows.jsonl", "empty", "file holds no rows"),
    ("run", "rows.jsonl", "broken", "too many malformed rows"),
    ("run", "rows.jsonl", "secretive", "screening accepted no row"),
    ("run", "base", "gone", "no such model"),
    ("run", "keys/evaluator.pem", "open", "others may read this private key"),
]
REFUSED = [
    ("verify", "certificate.json", "empty", "(malformed)"),
    ("verify", "certificate.json", "half", "(malformed)"),
    ("verify", "status.json", "half", "(status-malformed)"),
    ("verify", "status.json", "gone", "(status-missing)"),
    ("renew", "certificate.json", "half", "(malformed)"),
    ("serve", "certificate.json", "half", "(malformed)"),
    ("watch", "certificate.json", "empty", "(malformed)"),
]
"""A damaged certificate or status list was looked at and is refused: the answer is no (spec/verification.md)."""


DAMAGED = [
    ("tune", "base/model.safetensors", "cannot load the base"),
    ("evaluate", "tuned/adapter_model.safetensors", "cannot put the adapter on this base"),
    ("hunt", "tuned/adapter_model.safetensors", "cannot put the adapter on this base"),
    ("stress", "base/model.safetensors", "cannot load the model"),
]


@pytest.mark.parametrize("command", ["certify", "approve", "verify", "renew", "revoke", "status", "screen"])
def test_with_good_inputs_the_answer_is_yes(world: Path, run: Run, command: str) -> None:
    """The world that the other tests here damage is whole: in it each command says yes."""
    assert run(world, COMMANDS[command]).code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "what", "how", "said", "code"),
    [(*case, 2) for case in NO_ANSWER] + [(*case, 1) for case in REFUSED],
    ids=["-".join(case[:3]) for case in NO_ANSWER + REFUSED],
)
def test_a_bad_input_is_a_clear_error_and_leaves_nothing(
    world: Path, run: Run, command: str, what: str, how: str, said: str, code: int
) -> None:
    """The error says what is wrong, stdout stays empty, no file is changed, and none looks like an output."""
    HARM[how](world / what)
    before = files(world)

    ended = run(world, COMMANDS[command])

    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err[ended.err.index("error: ") :]
    assert "Traceback" not in ended.err
    after = files(world)
    assert {n: d for n, d in after.items() if not n.startswith(LEFT)} == before


@pytest.mark.xdist_group("torch")
@pytest.mark.parametrize(("command", "what", "said"), DAMAGED)
def test_weights_that_are_cut_off_are_no_model(
    tiny: Path, run: Run, command: str, what: str, said: str
) -> None:
    """Weights of which a half is missing are named as such, and nothing is tuned or evaluated."""
    HARM["half"](tiny / what)

    ended = run(tiny, COMMANDS[command])

    assert (ended.code, ended.out) == (2, "")
    assert f"error: {said}" in ended.err
    assert not (tiny / "out").exists()
