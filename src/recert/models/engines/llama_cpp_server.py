"""
llama.cpp's own server out of the Python package `xllamacpp`, on a Unix socket: for machines without `llama-server`.

`python -m recert.models.engines.llama_cpp_server --model FILE --host SOCKET --alias NAME` takes the same words as the
program. It ends with the process that started it, which is what `managed_child` sees to. The key is in `LLAMA_API_KEY`.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from typing import Any, Final

from recert import settings
from recert.errors import MissingExtraError

_COUNTS: Final = {
    "--ctx-size": "n_ctx",
    "--parallel": "n_parallel",
    "--batch-size": "n_batch",
    "--ubatch-size": "n_ubatch",
    "--n-gpu-layers": "n_gpu_layers",
}


def main(arguments: list[str] | None = None) -> int:
    """
    Serve until ended.

    Raises:
        MissingExtraError: `xllamacpp` is not installed.
    """
    parser = argparse.ArgumentParser(prog="recert.models.engines.llama_cpp_server", allow_abbrev=False)
    for name in ("--model", "--host", "--alias"):
        parser.add_argument(name, required=True)
    parser.add_argument("--lora", default="")
    for name in ("--threads", "--threads-batch", *_COUNTS):
        parser.add_argument(name, type=int)
    server = serve(parser.parse_args(arguments))
    sys.stderr.write(f"listening on {server.listening_address}\n")
    sys.stderr.flush()
    threading.Event().wait()
    return 0


def serve(given: argparse.Namespace) -> Any:
    """Start the server with everything off that is not chat, and return it."""
    try:
        import xllamacpp
    except ImportError as exc:
        raise MissingExtraError(
            "llama.cpp is not installed", hint="run `pip install 'recert[llama-cpp]'`"
        ) from exc
    params = xllamacpp.CommonParams()
    params.model.path = given.model
    if given.lora:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(given.lora, 1.0)]
    params.hostnames = [given.host]
    params.model_alias = {given.alias}
    params.api_keys = [os.environ.pop("LLAMA_API_KEY")]
    for word, name in _COUNTS.items():
        value = getattr(given, word[2:].replace("-", "_"))
        if value is not None:
            setattr(params, name, value)
    threads = given.threads or settings.threads()
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = given.threads_batch or threads
    params.offline = params.use_jinja = True
    params.ui = params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False
    params.n_threads_http = 64
    params.cors_origins = ""
    return xllamacpp.Server(params)


if __name__ == "__main__":
    sys.exit(main())
