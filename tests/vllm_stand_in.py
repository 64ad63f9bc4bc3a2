"""
The part of vLLM 0.33's interface that Recert uses, on transformers, for machines where vLLM does not install.

Names, arguments and forms of answers are vLLM's own, and an argument that it does not know is an error. What vLLM
itself does is tested where it is installed, by the same tests.
"""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from typing import Any

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass
class SamplingParams:
    """As `vllm.SamplingParams`."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int = 16
    stop_token_ids: list[int] = field(default_factory=list)
    prompt_logprobs: int | None = None
    detokenize: bool = True


@dataclass
class LoRARequest:
    """As `vllm.lora.request.LoRARequest`."""

    lora_name: str
    lora_int_id: int
    lora_path: str

    def __post_init__(self) -> None:
        assert self.lora_int_id >= 1
        assert self.lora_path


class LLM:
    """As `vllm.LLM`: one base, adapters loaded when first used."""

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        generation_config: str = "auto",
        enable_lora: bool = False,
        max_loras: int = 1,
        max_lora_rank: int = 16,
        max_model_len: int | None = None,
    ) -> None:
        import torch
        import transformers

        assert max_lora_rank in RANKS
        self._torch = torch
        self._lora = enable_lora
        self._loaded: dict[int, str] = {}
        self._model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            model, dtype=getattr(torch, dtype)
        ).eval()
        limit = max_model_len or self._model.config.max_position_embeddings
        self.llm_engine = types.SimpleNamespace(model_config=types.SimpleNamespace(max_model_len=limit))

    def generate(
        self,
        prompts: list[dict[str, Any]],
        sampling_params: list[SamplingParams],
        *,
        use_tqdm: bool = True,
        lora_request: LoRARequest | None = None,
    ) -> list[Any]:
        """Answer each prompt alone, greedily."""
        assert len(prompts) == len(sampling_params)
        self._use(lora_request)
        return [
            self._answer(list(prompt["prompt_token_ids"]), params)
            for prompt, params in zip(prompts, sampling_params, strict=True)
        ]

    def _use(self, lora: LoRARequest | None) -> None:
        import peft

        if lora is not None and not self._lora:
            raise ValueError("Call to add_lora failed: LoRA is not enabled")
        if lora is not None and lora.lora_int_id not in self._loaded:
            name = f"n{lora.lora_int_id}"
            if isinstance(self._model, peft.PeftModel):
                self._model.load_adapter(lora.lora_path, adapter_name=name, autocast_adapter_dtype=False)
            else:
                self._model = peft.PeftModel.from_pretrained(
                    self._model, lora.lora_path, adapter_name=name, autocast_adapter_dtype=False
                )
            self._loaded[lora.lora_int_id] = lora.lora_path
        if isinstance(self._model, peft.PeftModel):
            self._model.base_model.enable_adapter_layers()
            if lora is None:
                self._model.base_model.disable_adapter_layers()
            else:
                assert self._loaded[lora.lora_int_id] == lora.lora_path, "an id must be one adapter's"
                self._model.set_adapter(f"n{lora.lora_int_id}")

    def _answer(self, ids: list[int], params: SamplingParams) -> Any:
        torch = self._torch
        told: list[dict[int, Any] | None] | None = None
        with torch.inference_mode():
            if params.prompt_logprobs is not None:
                logs = torch.log_softmax(self._model(input_ids=torch.tensor([ids])).logits[0].float(), -1)
                told = [None] + [
                    {token: types.SimpleNamespace(logprob=float(logs[at, token]))}
                    for at, token in enumerate(ids[1:])
                ]
            made: list[int] = []
            while len(made) < params.max_tokens and not (made and made[-1] in params.stop_token_ids):
                logits = self._model(input_ids=torch.tensor([ids + made])).logits[0, -1].float()
                if params.temperature > 0:
                    assert params.seed is not None
                    generator = torch.Generator().manual_seed(params.seed + len(made))
                    drawn = torch.softmax(logits / params.temperature, -1)
                    made.append(int(torch.multinomial(drawn, 1, generator=generator)))
                else:
                    made.append(int(logits.argmax()))
        reason = "stop" if made and made[-1] in params.stop_token_ids else "length"
        output = types.SimpleNamespace(text="", token_ids=made, finish_reason=reason)
        return types.SimpleNamespace(outputs=[output], prompt_logprobs=told)


def install() -> list[str]:
    """Put the stand-in where vLLM would be; returns the names to take away again."""
    vllm, lora, request = (types.ModuleType(n) for n in ("vllm", "vllm.lora", "vllm.lora.request"))
    vllm.__dict__.update(
        LLM=LLM, SamplingParams=SamplingParams, TokensPrompt=dict, __version__="0.33.0-stand-in", lora=lora
    )
    request.__dict__.update(LoRARequest=LoRARequest)
    found = {"vllm": vllm, "vllm.lora": lora, "vllm.lora.request": request}
    sys.modules.update(found)
    return list(found)
