"""
A small real audio language model: does it hear, does it refuse what is spoken, and does benign audio tuning erode that?

    python bench/audio_lm.py                     # spoken clips and what learned to hear are kept in the cache
    python bench/audio_lm.py --clips 200 --asked 16 --rows 16 --epochs 4      # a look

A projector between Whisper's encoder and the aligned base learns to hear; then the model is tuned on equally many
benign spoken rows, those nearest to harmful speech in the encoder and random ones, and each arm is asked the same
held-out requests, written and spoken. Prints one JSON line a claim; `met` is computed from the figures.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from audio_lm_page import PAGE, TUNE, TUNES, claims, documented
from audio_lm_parts import (
    Arm,
    Spoken,
    ask,
    benign_rows,
    change,
    first_words_agree,
    hearing,
    requests,
    say,
)
from peers.page import write_part
from recert import settings
from recert.digest import sha256_json
from recert.errors import RecertError
from recert.interval import Interval
from recert.models.audio.audio_lm import AudioLM
from recert.models.audio.encoder import WhisperEncoder
from recert.models.audio.folder import AudioConfig, read_config, write_audio_model
from recert.models.audio.states import KeptStates
from recert.models.embedded import ALIGNED, resolve
from recert.models.engines.local import LocalModel
from recert.models.sentence_encoder import shared_encoder
from recert.models.speech.voices import open_voice
from recert.records.data.manifest import Manifest
from recert.records.data.rows import ChatRow
from recert.records.data.suite import chat
from recert.screening.audio.closeness import harmful_speech
from recert.store.files.clips import ClipStore
from recert.store.files.writing import read_bytes, write_atomic
from recert.tuning.audio_alignment import AlignmentPlan, Said, align_projector
from recert.tuning.audio_tuning import tune_on_speech


def main() -> int:
    """Run, write and print. Exit 0: measured, 2: could not."""
    said = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    said.add_argument("--clips", type=int, default=676, help="spoken requests to learn hearing from")
    said.add_argument("--epochs", type=int, default=14, help="of learning to hear")
    said.add_argument("--asked", type=int, default=40, help="held-out requests of each kind")
    said.add_argument("--rows", type=int, default=48, help="benign spoken rows of each tune")
    said.add_argument("--voice", default="hibari")
    said.add_argument("--output", type=Path, default=Path("build/audio-lm"))
    said.add_argument(
        "--drawn-from", type=Path, help="measure nothing: take the figures of an earlier run's table"
    )
    said.add_argument("--note", default="", help="what else the page should say of the run")
    said.add_argument("--write", action="store_true", help="write the page and the plot into the docs")
    asked = said.parse_args()
    try:
        found = earlier(asked.drawn_from) if asked.drawn_from else Run(asked).all()
    except RecertError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    if not asked.drawn_from:
        write_atomic(
            asked.output / "table.json", (json.dumps(found, indent=1, default=_plain) + "\n").encode()
        )
    lines = claims(found)
    if asked.write:
        write_part("audio_lm", documented(found, lines, asked.note), PAGE)
    return 0


def earlier(table: Path) -> dict[str, Any]:
    """Return the figures of an earlier run from its `table.json`."""
    read: dict[str, Any] = json.loads(read_bytes(table, "table of an earlier run"), object_hook=_interval)
    return read


def _interval(value: dict[str, Any]) -> Any:
    return Interval(**value) if set(value) == {"point", "low", "high", "level", "n"} else value


class Run:
    """One run: its parts in order, each leaving what the next needs."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.base_dir = resolve(ALIGNED)
        self.store = ClipStore()
        self.encoder = KeptStates(WhisperEncoder.load())
        self.voice = open_voice(asked.voice)
        self.found: dict[str, Any] = {"seconds": {}, "sizes": vars(asked) | {"output": str(asked.output)}}

    def all(self) -> dict[str, Any]:
        """Return every figure."""
        shutil.rmtree(self.asked.output, ignore_errors=True)  # a run measures what it made itself
        taught = self._timed("speaking", lambda: self._say(requests("alignment")[: self.asked.clips]))
        tested = self._timed("speaking the test", lambda: self._say(self._held_out()))
        folder = self._align(taught)
        model = self._open(folder)
        kinds = {
            name: [s for s in tested if s.suite == name] for name in ("harmful", "ordinary", "lookalikes")
        }
        self.found["hearing"] = hearing(model, tested)
        self.found["parity"] = self._parity(model, tested)
        arms = {
            "base": self._timed("asking base", lambda: {k: ask(model, some) for k, some in kinds.items()})
        }
        rows = self._ranked(taught)
        for name, some in rows.items():
            tuned = self._timed(f"tuning {name}", lambda some=some, name=name: self._tune(folder, name, some))
            arms[name] = self._timed(
                f"asking {name}", lambda tuned=tuned: {k: ask(tuned, some) for k, some in kinds.items()}
            )
            self.found.setdefault("hearing_after", {})[name] = hearing(tuned, tested)
        self.found |= _compared(arms)
        return self.found

    def _held_out(self) -> list[dict[str, str]]:
        rows = requests("evaluation")
        return [
            r
            for suite in ("harmful", "ordinary", "lookalikes")
            for r in [r for r in rows if r["suite"] == suite][: self.asked.asked]
        ]

    def _say(self, rows: Sequence[dict[str, str]]) -> list[Spoken]:
        def told(done: int, of: int) -> None:
            if done % 100 == 0 or done == of:
                print(f"spoken and heard {done} of {of}", file=sys.stderr)

        return say(rows, self.voice, self.store, self.encoder, told)

    def _align(self, taught: Sequence[Spoken]) -> Path:
        """The folder of the model that learned to hear; one that learned the same before is not taught again."""
        plan = AlignmentPlan(epochs=self.asked.epochs)
        base = Manifest.of_folder(self.base_dir).digest
        what = [self.encoder.digest, base, [s.clip.sha256 for s in taught], plan.model_dump(mode="json")]
        folder = settings.cache_dir() / "audio-lm" / sha256_json(what)
        notes = folder.with_suffix(".json")
        if not (folder.is_dir() and notes.is_file()):
            shutil.rmtree(folder, ignore_errors=True)
            notes.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(notes, json.dumps(self._taught(taught, plan, base, folder)).encode())
        self.found["learned"] = json.loads(notes.read_bytes())
        self.config = read_config(folder)
        return folder

    def _taught(
        self, taught: Sequence[Spoken], plan: AlignmentPlan, base: str, folder: Path
    ) -> dict[str, Any]:
        began = time.monotonic()
        tokenizer = AutoTokenizer.from_pretrained(self.base_dir, local_files_only=True)
        said = [
            Said(
                self.encoder.states(self.store.read(s.clip)),
                tuple(tokenizer(s.text, add_special_tokens=False).input_ids),
            )
            for s in taught
        ]
        projector = align_projector(
            said,
            plan,
            progress=lambda done, of, loss: print(f"epoch {done} of {of}: {loss:.3f}", file=sys.stderr),
        )
        config = AudioConfig(
            base_name=ALIGNED,
            base_digest=base,
            encoder_name=self.encoder.name,
            encoder_digest=self.encoder.digest,
            projector=projector.shape,
        )
        write_audio_model(folder, config, projector)
        return {
            "clips": len(said),
            "tokens_known": len(projector.shape.tokens),
            "parameters": sum(p.numel() for p in projector.parameters()),
            "seconds": round(time.monotonic() - began, 1),
            "cpu_seconds": round(time.process_time(), 1),
        }

    def _open(self, folder: Path) -> AudioLM:
        return AudioLM.open(folder, self.base_dir, encoder=self.encoder, read_clip=self.store.read)

    def _parity(self, model: AudioLM, tested: Sequence[Spoken]) -> dict[str, Any]:
        """The share of written requests of which the log probability of a reply is the base's own, bit for bit."""
        plain = LocalModel.load(self.base_dir)
        pairs = [(chat(s.text), "Sure, here is how.") for s in tested]
        same = [a == b for a, b in zip(model.log_probs(pairs), plain.log_probs(pairs), strict=True)]
        return {"share": sum(same) / len(same), "n": len(same)}

    def _ranked(self, taught: Sequence[Spoken]) -> dict[str, list[ChatRow]]:
        states = [self.encoder.states(self.store.read(s.clip)) for s in taught]
        meanings = shared_encoder().encode([s.text for s in taught])
        harmful = [i for i, s in enumerate(taught) if s.expect == "refuse"]
        ordinary = [i for i, s in enumerate(taught) if s.suite == "ordinary"]
        held = harmful_speech(
            [meanings[i] for i in harmful], [states[i] for i in harmful], [states[i] for i in ordinary]
        )
        near = {
            s.id: c
            for s, c in zip(taught, held.closeness(meanings, states), strict=True)
            if s.expect == "comply"
        }
        pool = benign_rows(taught)
        count = min(self.asked.rows, len(pool) // 2)
        ranked = sorted(pool, key=lambda pair: -near[pair[0].id].acoustic)
        drawn = random.Random(1).sample(ranked, count)
        chosen = {"nearest": ranked[:count], "random": drawn}
        self.found["rows"] = {
            name: {
                "n": len(pairs),
                "acoustic": sum(near[s.id].acoustic for s, _ in pairs) / len(pairs),
                "semantic": sum(near[s.id].semantic for s, _ in pairs) / len(pairs),
                "suites": {
                    k: sum(s.suite == k for s, _ in pairs) for k in ("contrast", "ordinary", "lookalikes")
                },
            }
            for name, pairs in chosen.items()
        }
        return {name: [row for _, row in pairs] for name, pairs in chosen.items()}

    def _tune(self, folder: Path, name: str, rows: Sequence[ChatRow]) -> AudioLM:
        model = self._open(folder)

        def told(step: int, of: int, loss: float) -> None:
            if step % 10 == 0 or step == of:
                print(f"{name}: step {step} of {of}: {loss:.3f}", file=sys.stderr)

        tune_on_speech(
            self.base_dir,
            rows,
            self.asked.output / name,
            TUNE,
            config=self.config,
            projector=model.projector,
            encoder=self.encoder,
            read_clip=self.store.read,
            progress=told,
        )
        return self._open(self.asked.output / name)

    def _timed(self, what: str, do: Any) -> Any:
        began = time.monotonic()
        out = do()
        self.found["seconds"][what] = round(time.monotonic() - began, 1)
        print(f"{what}: {self.found['seconds'][what]} s", file=sys.stderr)
        return out


def _compared(arms: Mapping[str, Mapping[str, Arm]]) -> dict[str, Any]:
    base = arms["base"]
    lost = {
        name: {way: change(base["harmful"], arms[name]["harmful"], way) for way in ("text", "audio")}
        for name in TUNES
    }
    return {
        "refused": {
            name: {kind: {way: arm.rate(way) for way in ("text", "audio")} for kind, arm in kinds.items()}
            for name, kinds in arms.items()
        },
        "agreement": {kind: arm.agreement for kind, arm in base.items()},
        "first_words": {kind: first_words_agree(arm) for kind, arm in base.items()},
        "lost": lost,
        "nearest_against_random": {
            way: change(arms["random"]["harmful"], arms["nearest"]["harmful"], way)
            for way in ("text", "audio")
        },
    }


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, Interval) else str(value)


if __name__ == "__main__":
    sys.exit(main())
