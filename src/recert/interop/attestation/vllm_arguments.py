"""
Which of vLLM's arguments may be given beside a certificate.

What was evaluated is a folder of files, greedy, in bfloat16, with its own tokenizer and template. Arguments of speed,
memory, parallelism and logging leave that as it is. All others must have vLLM's default, those of later versions too:
an argument that Recert does not know is refused.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from recert import settings
from recert.digest import list_folder

_TOPICS: Final = {
    "checked apart": "model tokenizer load_format dtype",
    "names and downloads, which do not happen": "served_model_name hf_token seed download_dir *revision",
    "reading": "safetensors_* use_tqdm_on_load pt_load_map_location max_parallel_loading_workers",
    "parallelism": "*_parallel_size data_parallel_* master_addr master_port nnodes node_rank *distributed_* numa_* "
    "dcp_* cp_kv_* device_ids enable_expert_parallel enable_ep_weight_filter expert_placement_strategy enable_dbo "
    "dbo_* ubatch_size dp_sync_interval disable_nccl_* *eplb* _api_process_* disable_custom_all_reduce watchdog_config "
    "ray_workers_use_nsight enable_batch_sharded_sampling enable_shm_tensor_arena enable_hc_sp *fault_tolerance*",
    "memory and scheduling": "max_model_len max_num_* max_logprobs logprobs_mode block_size *prefix_cach* watermark "
    "prefix_match_unit gpu_memory_utilization kv_cache_memory_bytes num_gpu_blocks_override swap_space cpu_offload_* "
    "offload_* *chunked_prefill long_prefill_* disable_chunked_mm_input disable_hybrid_kv_cache_manager "
    "disable_cascade_attn scheduling_policy scheduler_reserve_full_isl prefill_schedule_interval async_scheduling "
    "stream_interval renderer_num_workers enable_cumem_allocator shutdown_timeout",
    "kernels": "enforce_eager compilation_config optimization_level performance_mode attention_config *_backend "
    "*cudagraph_* kernel_config mamba_* enable_mamba_* enable_flashinfer_autotune ir_op_priority monokernel "
    "jit_monitor_*",
    "pictures and sound": "limit_mm_per_prompt media_io_kwargs mm_processor_cache_* mm_shm_* mm_ipc_* mm_tensor_ipc "
    "mm_device_do_normalize skip_mm_profiling mm_encoder_tp_mode mm_processor_device mm_hasher_algorithm",
    "adapters": "enable_lora max_loras max_lora_rank max_cpu_loras fully_sharded_loras specialize_active_lora",
    "logging": "disable_log_* enable_log_* aggregate_engine_logging otlp_traces_endpoint collect_detailed_traces "
    "*_metrics* custom_histogram_buckets log_level log_config_file logging_config enable_logging_iteration_details "
    "enable_mm_processor_stats enable_layerwise_nvtx_tracing",
    "reading replies": "structured_outputs_config reasoning_parser reasoning_config",
}
_FREE: Final = tuple(" ".join(_TOPICS.values()).split())
_PLAIN: Final = (str, int, float, bool, type(None), list, dict, tuple, set, frozenset)
_FORMATS: Final = ("auto", "hf", "safetensors")
_DTYPES: Final = ("auto", "bfloat16")
_FRONT: Final[dict[str, Any]] = {
    "trust_request_chat_template": False,
    "trust_request_mm_kwargs": False,
    "default_chat_template_kwargs": None,
    "reasoning_effort_map": None,
    "response_role": "assistant",
    "tool_parser_plugin": "",
    "reasoning_parser_plugin": "",
    "tool_server": None,
    "middleware": None,
}
_OFF: Final = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "anyone could load another adapter while it runs",
    "VLLM_SERVER_DEV_MODE": "its routes change weights and settings while it runs",
    "VLLM_USE_RUST_FRONTEND": "names, adapters and templates are not checked in that front end",
    "VLLM_LORA_RESOLVER_CACHE_DIR": "adapters would be loaded by name while it runs",
    "VLLM_LORA_RESOLVER_HF_REPO_LIST": "adapters would be loaded by name while it runs",
    "VLLM_USE_MODELSCOPE": "files could be downloaded in place of the certified ones",
}


def why_not_argued(args: Any) -> Iterator[str]:
    """Yield what speaks against engine arguments (`vllm.EngineArgs`), one sentence each."""
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(args)}
    allowed = settings.unsafe_allowed()
    for field in dataclasses.fields(args):
        if (
            field.name not in allowed
            and not _is_free(field.name)
            and not _same(given[field.name], _default(field))
        ):
            yield f"--{field.name.replace('_', '-')} changes what was evaluated, or is not known to Recert"
    if given.get("load_format", "auto") not in _FORMATS and "load_format" not in allowed:
        yield f"--load-format {given['load_format']} does not load the certified safetensors files as they are"
    if given.get("dtype", "auto") not in _DTYPES and "dtype" not in allowed:
        yield f"--dtype {given['dtype']}: what was evaluated ran in bfloat16"
    tokenizer = given.get("tokenizer")
    if tokenizer and Path(tokenizer).resolve() != Path(given["model"]).resolve():
        yield f"--tokenizer {tokenizer} is not the certified one"
    yield from _why_not_plain(Path(given["model"]), str(given.get("load_format", "auto")))


def why_not_surrounded() -> Iterator[str]:
    """Yield what speaks against the environment."""
    for name, because in _OFF.items():
        if (
            os.environ.get(name, "").strip().lower() not in ("", "0", "false")
            and name not in settings.unsafe_allowed()
        ):
            yield f"{name} is set: {because}"


def why_not_fronted(args: Any, served: Path) -> Iterator[str]:
    """Yield what speaks against the HTTP server's arguments, a parsed command line."""
    allowed = settings.unsafe_allowed()
    for name, default in _FRONT.items():
        if name not in allowed and not _same(getattr(args, name, default), default):
            yield f"--{name.replace('_', '-')} changes what the model reads or what is done with its replies"
    template = getattr(args, "chat_template", None)
    if template and "chat_template" not in allowed:
        place = Path(str(template))
        if not place.is_file() or served not in place.resolve().parents:
            yield "--chat-template is no file of the certified folder"


def _why_not_plain(folder: Path, load_format: str) -> Iterator[str]:
    """vLLM picks among several forms of weights in one folder; what was evaluated are the safetensors files."""
    names = [name for name in list_folder(folder) if "/" not in name]
    if not any(name.endswith(".safetensors") for name in names):
        yield "the folder holds no safetensors files, and pickles run code as they are loaded"
    if load_format != "safetensors" and any(fnmatchcase(name, "consolidated*.safetensors") for name in names):
        yield (
            "the folder holds two forms of the weights, and vLLM would load consolidated*.safetensors: give "
            "--load-format safetensors"
        )


def _is_free(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _FREE)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else None


def _same(value: Any, default: Any) -> bool:
    """Whether a value is vLLM's default; None, empty and false are one, as the command line mixes them up."""
    if not isinstance(default, _PLAIN):
        return type(value) is type(default) and bool(value == default)
    return bool(value == default) or (not value and not default)
