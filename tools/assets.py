"""
Make the shipped assets again: the embedded model's own replies, the alignment adapter, the request judge.

`python -m tools.assets` (or `make assets`) writes them into the source tree. About 35 minutes on two cores.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import recert
from recert.digest import sha256_file
from recert.models.embedded import embedded_model
from recert.models.engines.local import LocalModel
from recert.store.files.writing import publish_folder, write_atomic
from tools.alignment import SHARPENING_SEEDS, own_replies, train_alignment
from tools.judges import request_training

ASSETS = Path(recert.__file__).parent / "assets"


def main() -> None:
    """Write `assets/request_judge/`, `assets/suites/replies.jsonl` and `assets/alignment/`."""
    _say("training the request judge")
    request_training.main()
    base = embedded_model()
    replies_path = ASSETS / "suites" / "replies.jsonl"
    kept = _read_replies(replies_path) if "--keep-replies" in sys.argv else {}
    _say("asking the embedded model for its own short answers to the benign alignment prompts")
    replies = kept | own_replies(LocalModel.load(base), known=kept)
    lines = [json.dumps({"id": i, **r}, ensure_ascii=False) for i, r in sorted(replies.items())]
    write_atomic(replies_path, ("\n".join(lines) + "\n").encode())
    _say(f"training the alignment adapter in {1 + len(SHARPENING_SEEDS)} passes")
    with publish_folder(ASSETS / "alignment") as folder:
        rows = train_alignment(base, replies, folder, progress=_step)
    adapter = ASSETS / "alignment" / "adapter_model.safetensors"
    _say(f"learned from {rows} rows; {adapter.stat().st_size / 1e6:.1f} MB, sha256 {sha256_file(adapter)}")


def _read_replies(path: Path) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["id"]: {"text": row["text"], "ends": row["ends"]} for row in rows}


def _step(step: int, steps: int, loss: float) -> None:
    if step % 10 == 0 or step == steps:
        _say(f"  step {step} of {steps}, loss {loss:.3f}")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
