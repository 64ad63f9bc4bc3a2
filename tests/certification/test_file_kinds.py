"""Which files may be certified: weights, configuration, tokenizers and texts, and nothing that could run."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import BASE_FILES, TUNED_FILES, make_manifest, safetensors, write_model
from recert.certification.verifier.file_kinds import require_kinds, why_not_kind, why_not_plain
from recert.errors import VerificationError
from recert.records.data.manifest import Manifest

PICKLE = pickle.dumps({"weights": [1.0]}, protocol=4)
PLAIN = {
    **BASE_FILES,
    "adapter_config.json": b'{"auto_mapping": null, "megatron_core": "megatron.core", "peft_type": "LORA"}',
    "generation_config.json": b"{}",
    "tokenizer_config.json": b'{"auto_map": null, "trust_remote_code": false}',
    "vocab.txt": "wörter".encode(),
    "merges.txt": b"a b",
    "tokenizer.json": b'{"model": {"vocab": {"idx": 7, "type": 8}}}',  # words of a vocabulary are no modules
    "tokenizer.model": b"\x0a\x0e\x0a\x05<unk>",
    "qwen.tiktoken": b"IQ== 0",
    "chat_template.jinja": b"{{ messages }}",
    "additional_chat_templates/tool.jinja": b"{{ tools }}",
    "README.md": b"# Model",
    "LICENSE": b"Apache",
    ".gitattributes": b"*.safetensors filter=lfs",
    "tiny.gguf": struct.pack("<4sIQQ", b"GGUF", 3, 0, 0),
    "model.safetensors.index.json": b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}',
}


def test_what_models_are_made_of_is_certified(tmp_path: Path) -> None:
    """Weights, configuration, tokenizers, templates and texts."""
    write_model(tmp_path, PLAIN)

    assert why_not_plain(tmp_path) == why_not_plain(tmp_path, Manifest.of_folder(tmp_path)) == []
    require_kinds(Manifest.of_folder(tmp_path))


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("adapter_model.bin", "convert it to safetensors"),
        ("pytorch_model.bin", "convert it to safetensors"),
        ("training_args.bin", "delete it"),
        ("model.pt", "convert it to safetensors"),
        ("Model.PTH", "convert it to safetensors"),
        ("optimizer.ckpt", "delete it"),
        ("modeling_mine.py", "it is code"),
        ("inner/tokenization.PY", "it is code"),
        ("kernel.so", "it is code"),
        ("weights.npz", "it can hold pickles"),
        ("model.onnx", "no engine here loads it"),
        ("picture.png", "delete it"),
        ("config.json.py", "it is code"),
        ("config.json.bak", "delete it"),
        ("noending", "delete it"),
        (".json", "delete it"),
        (".cache/huggingface/config.json", "hidden folder"),
        ("model.bin", "convert it to safetensors"),
    ],
)
def test_anything_else_is_refused_with_what_to_do(tmp_path: Path, name: str, way_out: str) -> None:
    """By its name alone, when it is certified and when it is verified; the file is named."""
    write_model(tmp_path, {**PLAIN, name: b"{}"})
    (why,) = why_not_plain(tmp_path)
    with pytest.raises(VerificationError) as caught:
        require_kinds(Manifest.of_folder(tmp_path))

    assert why.startswith(f"file-kind: {tmp_path.name}/{name}: ")
    assert way_out in why
    assert caught.value.reason == "file-kind"
    assert list(caught.value.facts) == [name]


def test_weights_of_ctranslate2_are_ears_alone() -> None:
    """A transcriber's `model.bin` is no pickle; a language model's is one."""
    assert why_not_kind("model.bin", ears=True) is None
    assert why_not_kind("model.bin") is not None
    assert why_not_kind("model.py", ears=True) is not None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("adapter_model.safetensors", PICKLE),
        ("adapter_model.safetensors", b""),
        ("adapter_model.SafeTensors", PICKLE),
        ("adapter_model.safetensors", safetensors(b"weights")[:-1]),
        ("adapter_model.safetensors", struct.pack("<Q", 2) + b"[]"),
        ("tiny.gguf", PICKLE),
        ("vocab.txt", PICKLE),
        ("README.md", b"PK\x03\x04"),
        ("tokenizer.model", PICKLE),
        ("config.json", PICKLE),
        ("config.json", b"{"),
        ("config.json", b'{"a": NaN}'),
        ("chat_template.jinja", b"\xff\xfe"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    """A pickle under another name, half a file, and JSON that is none."""
    write_model(tmp_path, {name: data})

    assert [why.split(": ")[1] for why in why_not_plain(tmp_path)] == [f"{tmp_path.name}/{name}"]


ASKING = [
    {"auto_map": {"AutoModel": "modeling.Mine"}},
    {"auto_map": "modeling.Mine"},
    {"trust_remote_code": True},
    {"custom_pipelines": {"mine": {"impl": "pipe.Mine"}}},
    {"custom_generate": "me/generate"},
    {"auto_mapping": {"base_model_class": "Mine", "parent_library": "mine"}},
    {"auto_mapping": {"base_model_class": "Mine", "parent_library": "transformers_evil.x"}},
    {"auto_mapping": {"base_model_class": "Mine"}},
    {"auto_mapping": ["mine"]},
    {"megatron_core": "mine.core"},
    {"attn_implementation": "me/kernel"},
    {"_attn_implementation": {"text": "me/kernel"}},
]


@given(asking=st.sampled_from(ASKING), depth=st.integers(0, 4), listed=st.booleans())
def test_json_that_asks_for_code_is_refused_at_any_depth(
    tmp_path_factory: pytest.TempPathFactory, asking: dict[str, object], depth: int, *, listed: bool
) -> None:
    """In objects, in lists, and where a later key of the same name would hide it."""
    value: object = asking
    for _ in range(depth):
        value = {"inner": [value] if listed else value}
    folder = tmp_path_factory.mktemp("asking")
    (folder / "tokenizer_config.json").write_text(json.dumps(value))
    (why,) = why_not_plain(folder)
    (name,) = asking
    hidden = json.dumps(value).replace(json.dumps(asking), json.dumps(asking)[:-1] + f', "{name}": null}}')
    (folder / "tokenizer_config.json").write_text(hidden)
    again = why_not_plain(folder)

    assert why.startswith(f"file-kind: {folder.name}/tokenizer_config.json: `{name}`")
    assert again == [why]


def test_what_names_transformers_own_classes_is_plain(tmp_path: Path) -> None:
    """PEFT notes the class that it wrapped, and configurations how attention is computed."""
    said = {
        "auto_mapping": {
            "base_model_class": "Llama",
            "parent_library": "transformers.models.llama.modeling_llama",
        },
        "attn_implementation": "flash_attention_2",
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(said))
    modules = [{"idx": 0, "name": "0", "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))

    assert why_not_plain(tmp_path) == []
    (tmp_path / "modules.json").write_text(json.dumps([modules[0] | {"type": "mine.Module"}]))
    assert len(why_not_plain(tmp_path)) == 1


@pytest.mark.parametrize("shard", ["../other.safetensors", "/etc/passwd", "inner\\x.safetensors"])
def test_an_index_that_leads_elsewhere_is_refused(tmp_path: Path, shard: str) -> None:
    """Weights outside the folder would be loaded and not certified."""
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))

    assert "outside its own folder" in why_not_plain(tmp_path)[0]


def test_what_is_looked_at_is_what_is_certified(tmp_path: Path) -> None:
    """A configuration that is plain while it is looked at, and another one when it is hashed, is refused."""
    write_model(tmp_path, TUNED_FILES)
    hashed = make_manifest({**TUNED_FILES, "adapter_config.json": b'{"auto_map": {"AutoModel": "x.Y"}}'})

    assert "changed while it was looked at" in why_not_plain(tmp_path, hashed)[0]
