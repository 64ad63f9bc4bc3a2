"""A real model behind real HTTP: chat completions with log probabilities, by plain transformers alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from http_endpoints import serving


class Weights:
    """A model of files, as another engine than ours loads it: an adapter is merged into its base."""

    def __init__(self, base: Path, adapter: Path | None = None, *, dtype: str = "float32") -> None:
        import peft
        import torch
        import transformers

        self._tokenizer = transformers.AutoTokenizer.from_pretrained(base)
        model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype))
        if adapter is not None:
            model = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
        self._model = model.eval()

    def tokens(self, messages: list[dict[str, str]], most: int, top: int) -> Iterator[dict[str, Any]]:
        """Yield OpenAI's entries of the tokens of a greedy reply."""
        import torch

        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = self._tokenizer(text, add_special_tokens=False).input_ids
        for _ in range(most):
            with torch.inference_mode():  # not around the yield: it is the mode of a thread
                logs = torch.log_softmax(self._model(input_ids=torch.tensor([ids])).logits[0, -1].float(), -1)
                best = logs.topk(max(top, 1))
            token = int(best.indices[0])
            if token == self._tokenizer.eos_token_id:
                return
            ids.append(token)
            named = [self._entry(int(i), float(v)) for i, v in zip(best.indices, best.values, strict=True)]
            yield {**named[0], "top_logprobs": named[:top]}

    def _entry(self, token: int, log: float) -> dict[str, Any]:
        text = self._tokenizer.decode([token])
        return {"token": text, "logprob": log, "bytes": list(text.encode())}


class ModelServer:
    """
    An OpenAI-compatible server whose weights can be swapped while it runs.

    Args:
        weights: what answers.
        logprobs: whether it gives log probabilities.
        pause_s: wait before each token of a reply.
    """

    def __init__(self, weights: Weights, *, logprobs: bool = True, pause_s: float = 0.0) -> None:
        self.weights = weights
        self.logprobs = logprobs
        self.pause_s = pause_s
        self.refuses = False
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._thread = ThreadPoolExecutor(1)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve while the block runs; gives the address."""
        with serving(("POST", "/v1/chat/completions", self._answer)) as url:
            yield url
        self._thread.shutdown()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers.append({k.lower(): v for k, v in request.headers.items() if k != "Content-Length"})
        if self.refuses:
            return web.json_response({"error": {"message": "busy"}}, status=503)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        top = body.get("top_logprobs", 0) if self.logprobs and body.get("logprobs") else 0
        entries = self.weights.tokens(body["messages"], body["max_tokens"], top)
        loop, count = asyncio.get_running_loop(), 0
        while (one := await loop.run_in_executor(self._thread, next, entries, None)) is not None:
            count += 1
            await asyncio.sleep(self.pause_s)
            choice: dict[str, Any] = {"delta": {"content": one["token"]}}
            await response.write(_event({**choice, "logprobs": {"content": [one]}} if top else choice))
        await response.write(_event({"delta": {}, "finish_reason": "stop"}))
        usage = {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}
        await response.write(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


def _event(choice: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"
