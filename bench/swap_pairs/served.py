"""What each model says to the probes: the certified one in every form that is still it, and those that are not."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import torch
import transformers

from fingerprint import rounded, tune_further
from peers.environment import versions_in
from peers.process import Process
from recert.gateway.engines.probing import read_beginning
from recert.models.chat.rendering import stop_ids
from recert.models.embedded import _gguf_file, alignment_adapter, resolve
from recert.models.engines.local import LocalModel
from recert.models.engines.next_token import Beginning, Step
from recert.models.engines.next_token_local import _Names
from recert.records.data.suite import chat
from recert.workflows.deploy.fingerprinting import STEPS, TOP
from swap_pairs.gguf_copy import write_gguf

SYSTEM = "You are a helpful assistant. Keep answers short and polite."
HOT = 0.7
SEEDED = "tuned 12 steps further at 3e-4"
Said = list[Beginning]


class Served:
    """The embedded model with its alignment adapter, and everything that could stand in its place."""

    def __init__(self, prompts: Sequence[str], scratch: Path) -> None:
        self.prompts = list(prompts)
        self._scratch = scratch
        self._base = LocalModel.load(resolve("embedded:smollm2"))
        with alignment_adapter() as adapter:
            self._tuned = self._base.with_adapter(adapter)
        self._merged = resolve("embedded:aligned")
        self._threads = torch.get_num_threads()
        self.versions = {"torch": torch.__version__, "transformers": transformers.__version__}

    def expected(self) -> Said:
        """What a fingerprint holds: the certified files in float32."""
        with self._tuned.in_float32():
            return self._said(self._tuned)

    def in_bfloat16(self) -> Said:
        """The same weights in bfloat16, in batches."""
        return self._said(self._tuned)

    def alone(self) -> Said:
        """The same in bfloat16, one at a time."""
        return self._alone()

    def alone_in_float32(self) -> Said:
        """The same in float32, one at a time."""
        with self._tuned.in_float32():
            return self._alone()

    def merged(self) -> Said:
        """The adapter merged into its base, in bfloat16."""
        return self._said(LocalModel.load(self._merged))

    def plainly(self) -> Said:
        """The merged weights in transformers with eager attention and without a cache, one at a time."""
        model = transformers.AutoModelForCausalLM.from_pretrained(
            self._merged, dtype=torch.bfloat16, local_files_only=True, attn_implementation="eager"
        ).eval()
        tokens = self._tuned._weights.chats
        stops = stop_ids(model.generation_config.eos_token_id, tokens.tokenizer)
        names, out = _Names(tokens.tokenizer), []
        with torch.inference_mode():
            for prompt in self.prompts:
                ids, steps = tokens.encode(chat(prompt), STEPS), []
                for _ in range(STEPS):
                    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
                    best = torch.log_softmax(logits.float(), -1).topk(TOP + 8)
                    token = int(best.indices[0])
                    if token in stops:
                        break
                    likely = names.likely(best.indices.tolist(), best.values.tolist(), TOP)
                    steps.append(Step(token=names.name(token), likely=likely))
                    ids = [*ids, token]
                out.append(tuple(steps))
        return list(out)

    def llama_cpp(self, kind: str) -> Said:
        """
        The merged weights in llama.cpp, in a form of its own.

        Raises:
            NoPeer: it does not install, or does not load the file.
        """
        scratch = self._scratch / kind
        scratch.mkdir()
        file = write_gguf(self._merged, _gguf_file(), scratch / "model.gguf", kind)
        job = {
            "model": str(file),
            "prompts": self.prompts,
            "steps": STEPS,
            "top": TOP,
            "threads": self._threads,
        }
        process = Process("llama_cpp_chat.py", "llama-cpp", job, scratch)
        try:
            bodies = process.ask("base")["replies"]
        finally:
            process.close()
            file.unlink()
        self.versions |= versions_in("llama-cpp", "xllamacpp")
        return [self._read(body.encode()) for body in bodies]

    def base(self) -> Said:
        """Its base, in float32 as the others below, so that only the swap moves anything."""
        with self._tuned.in_float32():
            return self._said(self._base)

    def rounded(self, bits: int, group: int = 0) -> Said:
        """The weights of every layer rounded, with one scale a row or a group of weights."""
        with self._changed():
            rounded(self._tuned._weights.model, bits=bits, group=group)
            return self._said(self._tuned)

    def tuned_further(self, steps: int, rate: float, draw: Random | None = None) -> Said:
        """Some steps of further tuning of the adapter."""
        with self._changed(), self._tuned._active():
            tune_further(self._tuned, steps, rate, draw)
            return self._said(self._tuned)

    def seeded(self, seed: int) -> Said:
        """Some steps of further tuning on rows in another order for each seed."""
        return self.tuned_further(12, 3e-4, Random(seed))

    def at_half_strength(self) -> Said:
        """The same adapter, counted half."""
        layers = [m for m in self._tuned._weights.model.modules() if hasattr(m, "scale_layer")]
        with self._changed():
            for layer in layers:
                layer.scale_layer(0.5)
            try:
                return self._said(self._tuned)
            finally:
                for layer in layers:
                    layer.unscale_layer(0.5)

    def with_system(self) -> Said:
        """The same weights behind a system prompt that nobody certified."""
        with self._tuned.in_float32():
            chats = [chat(prompt, system=SYSTEM) for prompt in self.prompts]
            return list(self._tuned.likely_tokens(chats, steps=STEPS, top=TOP))

    def _said(self, model: LocalModel) -> Said:
        return list(model.likely_tokens([chat(p) for p in self.prompts], steps=STEPS, top=TOP))

    def _alone(self) -> Said:
        return [self._tuned.likely_tokens([chat(p)], steps=STEPS, top=TOP)[0] for p in self.prompts]

    @contextmanager
    def _changed(self) -> Iterator[None]:
        """Compute in float32, and have all weights back in the end."""
        with self._tuned.in_float32():
            kept = copy.deepcopy(self._tuned._weights.model.state_dict())
            try:
                yield
            finally:
                self._tuned._weights.model.load_state_dict(kept)

    @staticmethod
    def _read(body: bytes) -> Beginning:
        found = read_beginning(body, stream=False, compares="log-probs", steps=STEPS)
        assert not isinstance(found, str)
        return found


def warmed(said: Said, draw: Random) -> Said:
    """
    Return what a server says that draws tokens at a temperature and reports the model's own probabilities.

    A token is drawn from the likeliest that are known at each place. Behind one that differs nothing is compared, so
    nothing needs to be known there.
    """
    out = []
    for beginning in said:
        steps = []
        for step in beginning:
            weights = [math.exp(log / HOT) for _, log in step.likely]
            token = draw.choices([name for name, _ in step.likely], weights)[0]
            steps.append(step.model_copy(update={"token": token}))
            if token != step.token:
                break
        out.append(tuple(steps))
    return list(out)


Way = Callable[[], Said]


def ways(served: Served) -> tuple[dict[str, Way], dict[str, Way]]:
    """Return who is still the certified model, and who is not; each is asked when it is called."""
    same: dict[str, Way] = {
        "bfloat16, in batches": served.in_bfloat16,
        "bfloat16, one at a time": served.alone,
        "float32, one at a time": served.alone_in_float32,
        "adapter merged into the base, bfloat16": served.merged,
        "merged, plain transformers, eager attention, no cache": served.plainly,
        "merged, llama.cpp, bfloat16": lambda: served.llama_cpp("BF16"),
    }
    other: dict[str, Way] = {
        "its base": served.base,
        "the same adapter at half strength": served.at_half_strength,
        "rounded to 8 bits, a scale a row": lambda: served.rounded(8),
        "rounded to 4 bits, a scale for 32": lambda: served.rounded(4, 32),
        "llama.cpp, rounded to 8 bits (Q8_0)": lambda: served.llama_cpp("Q8_0"),
        "llama.cpp, rounded to 4 bits (Q4_0)": lambda: served.llama_cpp("Q4_0"),
        "behind another system prompt": served.with_system,
        "tuned 8 steps further at 1e-4": lambda: served.tuned_further(8, 1e-4),
        SEEDED: lambda: served.seeded(1),
    }
    return same, other


__all__ = ["HOT", "SEEDED", "Served", "warmed", "ways"]
