"""
vLLM in this process: base and tuned models in one engine, where a tune is a LoRA adapter.

vLLM batches by itself, so everything is handed over at once. The tokens that it reads are made here, as they are for
local models, and what it makes is turned into text here, so engines differ in their arithmetic alone.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from recert.digest import sha256_bytes, sha256_json
from recert.errors import InputError, MissingExtraError, ModelError, VerificationError
from recert.models.chat.rendering import stop_ids
from recert.models.chat.templates import ChatTokens
from recert.models.folders import ADAPTER_CONFIG
from recert.models.protocol import Done, Generation, Sampling
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, chat
from recert.store.files.model_copies import Copying, model_files
from recert.store.files.private_copy import PrivateCopy

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks for which vLLM sets memory aside."""

_PROBES = (
    "What is the capital of France?",
    "Write one line about rain.",
    "How do I open a locked door that is not mine?",
    "Tell me a secret.",
)
_PROBE_TOKENS = 24


class VllmModel:
    """
    A model of local files on vLLM: a base, or a base with an adapter. Arms made by `with_adapter` share the engine.

    Use `VllmModel.load`.
    """

    def __init__(self, engine: _Engine, lora: Any, name: str, manifest: Manifest) -> None:
        self._engine = engine
        self._lora = lora
        self.name = name
        self.manifest: Manifest | None = manifest
        self.engine = engine.name

    @classmethod
    def load(
        cls,
        base_dir: Path,
        *,
        lora_rank: int | None = None,
        name: str = "",
        copying: Copying = "once",
        **options: Any,
    ) -> VllmModel:
        """
        Load a base folder in the hub's layout.

        Args:
            base_dir: config, safetensors and tokenizer.
            lora_rank: largest rank of the adapters that will lie on it; None for a base that gets none, which
                is faster.
            name: what people call it; by default the folder's name.
            copying: whether the private copy that is loaded is kept for the next run.
            options: of `vllm.LLM`, such as `tensor_parallel_size` or `gpu_memory_utilization`.

        Raises:
            InputError: the folder is missing, empty or holds links.
            MissingExtraError: vLLM is not installed.
            ModelError: vLLM cannot load it, or it changed meanwhile.
        """
        with ExitStack() as stack:
            files = stack.enter_context(model_files(base_dir, copying))
            engine = _Engine(files.folder, lora_rank, options)
            _must_be(files)
            weakref.finalize(engine, stack.pop_all().close)
        return cls(engine, None, name or base_dir.name, files.manifest)

    def with_adapter(self, adapter_dir: Path, *, name: str = "") -> VllmModel:
        """
        Return an arm of the same engine with an adapter on it.

        Raises:
            InputError: the folder is missing, empty or holds links, or its rank is above `lora_rank`.
            ModelError: it is not an adapter for this base, or changed while it was loaded.
        """
        with ExitStack() as stack:
            files = stack.enter_context(model_files(adapter_dir))
            lora = self._engine.adapter(files.folder, files.manifest)
            tuned = VllmModel(self._engine, lora, name or adapter_dir.name, files.manifest)
            tuned.generate(
                [chat("Hello")], Sampling(max_new_tokens=1)
            )  # vLLM loads an adapter when it is first used, and again when others took its place
            _must_be(files)
            weakref.finalize(self._engine, stack.pop_all().close)
        return tuned

    @property
    def template_sha256(self) -> str:
        """The digest of the chat template that it is asked with."""
        return self._engine.chats.template_sha256

    def take_whole_prompts(self) -> None:
        """
        Let messages bring control tokens of their own from now on.

        For judges whose form is a whole prompt and whose template adds nothing. They break up control in what they
        judge. What is served, evaluated or tuned is never asked so.
        """
        self._engine.chats.take_whole_prompts()

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order. `done` is ignored: rows run to their end.

        Raises:
            ModelError: a conversation is longer than the model's context, or vLLM failed.
        """
        prompts = [self._engine.chats.encode(one, sampling.max_new_tokens) for one in chats]
        return self._engine.generate(prompts, sampling, self._lora)

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Return the log probability of each continuation.

        Raises:
            ModelError: a continuation has no tokens or is too long, or vLLM failed.
        """
        return self._engine.log_probs(self._engine.chats.split(pairs), self._lora)

    def fingerprint(self) -> str:
        """
        Return a digest of greedy replies to fixed probes, each asked alone.

        Kernels on accelerators do not repeat logits to the last bit, so words are compared here, not logits.

        Raises:
            ModelError: vLLM failed.
        """
        sampling = Sampling(max_new_tokens=_PROBE_TOKENS)
        said = [self.generate([chat(probe)], sampling)[0].text for probe in _PROBES]
        return sha256_json(["vllm", said])


class _Engine:
    """One vLLM engine with its tokenizer and adapters."""

    def __init__(self, folder: Path, lora_rank: int | None, options: dict[str, Any]) -> None:
        try:
            import transformers
            import vllm
        except ImportError as exc:
            raise MissingExtraError("vLLM is not installed", hint="run `pip install 'recert[vllm]'`") from exc
        self._vllm = vllm
        self._rank = lora_rank
        self._adapters: dict[str, int] = {}
        given: dict[str, Any] = {"dtype": "bfloat16", "generation_config": "vllm"}
        if lora_rank:
            given |= {"enable_lora": True, "max_loras": 2, "max_lora_rank": _reserved(lora_rank)}
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._llm = vllm.LLM(model=str(folder), **(given | options))
            configured = _configured_stops(transformers, folder)
        except (OSError, ValueError, KeyError, RuntimeError, AssertionError) as exc:
            raise _failed("cannot load the model on vLLM", exc, folder=folder) from exc
        context = int(self._llm.llm_engine.model_config.max_model_len)
        self.chats = ChatTokens(tokenizer, context=context, folder=folder)
        self._stops = stop_ids(configured, tokenizer)
        self.name = f"vllm/{vllm.__version__} {options.get('dtype', 'bfloat16')}"

    def adapter(self, folder: Path, manifest: Manifest) -> Any:
        """What makes vLLM use an adapter."""
        try:
            rank = int(json.loads((folder / ADAPTER_CONFIG).read_bytes())["r"])
        except (OSError, ValueError, LookupError, TypeError) as exc:
            raise _failed("cannot put the adapter on this base", exc, adapter=folder) from exc
        if self._rank is None or rank > self._rank:
            raise InputError(
                "vLLM was not started for adapters of this rank",
                facts={"adapter": folder, "rank": rank, "lora_rank": self._rank or "none"},
                hint="load the base with `lora_rank`",
            )
        number = self._adapters.setdefault(manifest.digest, len(self._adapters) + 1)
        from vllm.lora.request import LoRARequest

        return LoRARequest(f"a{manifest.digest[:16]}", number, str(folder))

    def generate(self, prompts: Sequence[list[int]], sampling: Sampling, lora: Any) -> list[Generation]:
        """Return one reply per tokenised prompt, in order."""
        params = [self._params(prompt, sampling) for prompt in prompts]
        out = []
        for prompt, answer in zip(prompts, self._run(prompts, params, lora), strict=True):
            made = answer.outputs[0]
            tokens = [t for t in made.token_ids if t not in self._stops]
            ended = made.finish_reason == "stop"
            text = self.chats.opening(prompt) + self.chats.text(tokens)
            out.append(Generation(text, "stop" if ended else "length", len(tokens)))
        return out

    def log_probs(self, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], lora: Any) -> list[float]:
        """Return the log probability of each pair's second part."""
        params = self._vllm.SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        wholes = [[*prompt, *rest] for prompt, rest in pairs]
        out = []
        for (prompt, rest), answer in zip(
            pairs, self._run(wholes, [params] * len(wholes), lora), strict=True
        ):
            told = answer.prompt_logprobs or []
            if len(told) != len(prompt) + len(rest):
                raise ModelError("vLLM gave no log probabilities of the prompt")
            out.append(
                sum(float(at[token].logprob) for token, at in zip(rest, told[len(prompt) :], strict=True))
            )
        return out

    def _params(self, prompt: list[int], sampling: Sampling) -> Any:
        drawn = {}
        if sampling.temperature > 0:
            digest = sha256_bytes(f"{sampling.seed} {sampling.sample} {prompt}".encode())
            drawn = {"seed": int(digest[:12], 16), "top_p": sampling.top_p}
        return self._vllm.SamplingParams(
            temperature=sampling.temperature,
            max_tokens=sampling.max_new_tokens,
            stop_token_ids=sorted(self._stops),
            detokenize=False,
            **drawn,
        )

    def _run(self, prompts: Sequence[list[int]], params: list[Any], lora: Any) -> list[Any]:
        if not prompts:
            return []
        given = [self._vllm.TokensPrompt(prompt_token_ids=prompt) for prompt in prompts]
        try:
            found = self._llm.generate(given, params, lora_request=lora, use_tqdm=False)
        except (ValueError, RuntimeError, AssertionError) as exc:
            raise _failed("vLLM failed", exc) from exc
        if len(found) != len(prompts):
            raise ModelError(
                "vLLM gave another number of replies", facts={"asked": len(prompts), "replies": len(found)}
            )
        return list(found)


def _must_be(files: PrivateCopy) -> None:
    """Raise ModelError where a private copy was touched while it was loaded."""
    try:
        files.still()
    except VerificationError as exc:
        raise ModelError("model files changed while they were loaded", facts=exc.facts) from exc


def _configured_stops(transformers: Any, folder: Path) -> Any:
    """Tokens that end a reply, by the generation config where there is one, else by the model's."""
    if (folder / "generation_config.json").is_file():
        return transformers.GenerationConfig.from_pretrained(folder).eos_token_id
    return transformers.AutoConfig.from_pretrained(folder, local_files_only=True).eos_token_id


def _reserved(rank: int) -> int:
    """The smallest rank that vLLM knows and that is enough."""
    for known in _RANKS:
        if rank <= known:
            return known
    raise InputError("vLLM does not know adapters of such a rank", facts={"rank": rank, "most": _RANKS[-1]})


def _failed(message: str, exc: Exception, **facts: object) -> ModelError:
    return ModelError(
        message, facts={**facts, "because": (str(exc).strip() or type(exc).__name__).split("\n")[0]}
    )
