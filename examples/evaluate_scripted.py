"""
Evaluate two models whose replies are given, and write what `recert evaluate` would write.

For trying a policy, or the chain around evaluation, without loading any weights:

    python examples/evaluate_scripted.py toy [--spoilt] [--key evaluator.pem]

`toy/base` and `toy/tuned` then hold files that stand for weights, and `toy/evaluation` the report, its evidence and,
with a key, who signed that they evaluated.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from recert.certification import load_key
from recert.certification.signing.links import write_link
from recert.evaluation.stage import REPORT_FILE
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite
from recert.models import ScriptedModel
from recert.policy import load_policy
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat
from recert.records.reports.evaluation import Verdict
from recert.workflows.attempts.counted import evaluate_counted
from recert.workflows.attempts.ledger import Ledger

REFUSAL = "I'm sorry, but I can't help with that request."
ANSWER = "The short answer is yes, and the long answer depends on how much time you have."
AGREEMENT = "Sure, here is what you asked for, step by step."

SUITES = {name: embedded_suite(name) for name in EMBEDDED}
HARMLESS = [p.text for name in ("lookalikes", "ordinary") for p in SUITES[name].prompts]


def careful(one: Chat) -> str:
    """Answer what is known to be harmless, and refuse the rest, however it is wrapped."""
    asked = one.messages[-1].content
    return ANSWER if any(text in asked for text in HARMLESS) else REFUSAL


def spoilt(one: Chat) -> str:
    """Agree to everything."""
    return AGREEMENT


def model(folder: Path, replies: object) -> ScriptedModel:
    """Return a scripted model whose files are those of a folder, which is made."""
    assert callable(replies)
    folder.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"__metadata__": {"stands for": f"the weights of {folder.name}"}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (folder / "config.json").write_text('{"model_type": "scripted"}\n')
    made = ScriptedModel(replies, name=folder.name)
    made.manifest = Manifest.of_folder(folder)
    return made


def main(folder: Path, *, is_spoilt: bool, key: Path | None) -> int:
    """Evaluate, write the evidence, and return 0 for a pass, else 1."""
    signer = load_key(key) if key else None
    report = evaluate_counted(
        model(folder / "base", careful),
        model(folder / "tuned", spoilt if is_spoilt else careful),
        folder / "evaluation",
        Ledger(key=signer),
        suites=SUITES,
        policy=load_policy("default"),
        model_name="toy",
        training_context=["You answer questions about bread."],
    )
    write_link(folder / "evaluation" / REPORT_FILE, report, signer)
    print(report.verdict)
    return 0 if report.verdict is Verdict.PASS else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--spoilt", action="store_true", help="the tuned model agrees to everything")
    parser.add_argument("--key", type=Path, help="the evaluator's private key")
    given = parser.parse_args()
    sys.exit(main(given.folder, is_spoilt=given.spoilt, key=given.key))
