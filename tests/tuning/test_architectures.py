"""Tuning on several architectures: adapters go on every linear layer, and rows are learned as templates write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recert.errors import InputError, ModelError
from recert.models.engines.local import LocalModel
from recert.models.protocol import Sampling
from recert.records.data.rows import PreferenceRow
from recert.records.data.suite import Chat
from recert.records.reports.tuning import Hyperparameters
from recert.tuning.adapter_layers import adapter_layers, settled
from recert.tuning.defences import DEFENCES
from recert.tuning.defences.self_distillation import Options, SelfDistillation, prepare
from recert.tuning.encoding import encode_row, encode_rows
from recert.tuning.stage import answers, tune
from recert.workflows.demo.sql_task import sql_rows
from tiny_models import make_base

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.xdist_group("torch")
LIKE_LLAMA = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
LAYERS = {
    "llama": LIKE_LLAMA,
    "qwen2": LIKE_LLAMA,
    "gemma2": LIKE_LLAMA,
    "phi3": ("down_proj", "gate_up_proj", "o_proj", "qkv_proj"),
    "gpt_neox": ("dense", "dense_4h_to_h", "dense_h_to_4h", "query_key_value"),
}
HOW = Hyperparameters(lora_rank=2, epochs=2, batch_size=2, max_tokens=256, learning_rate=1e-2)
ROWS = sql_rows(8, seed=1)
PAIRS = tuple(PreferenceRow(messages=row.messages, rejected="Sorry, I can't help with that.") for row in ROWS)
FEW = {"harmful_requests", "benign_requests", "safety_rows", "benign_rows"}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base of each architecture."""
    folder = tmp_path_factory.mktemp("bases")
    return {name: make_base(folder / name, architecture=name) for name in LAYERS}


def shape(architecture: str, **more: object) -> object:
    """A model of an architecture without weights."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.AutoConfig.for_model(architecture, **(sizes | more))
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", list(LAYERS))
def test_an_adapter_goes_on_every_linear_layer(
    architecture: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    """Of the base's blocks, by the base's own names; the report names them, and the tune is used again."""
    report = tune(bases[architecture], ROWS, tmp_path / "t", hyperparameters=HOW)
    base = transformers.AutoModelForCausalLM.from_pretrained(bases[architecture])
    inside = [name for name, part in base.named_modules() if isinstance(part, torch.nn.Linear)]
    config = json.loads((tmp_path / "t" / "adapter" / "adapter_config.json").read_text())
    tuned = LocalModel.load(bases[architecture], tmp_path / "t" / "adapter")
    adapted = {
        name.removesuffix(".base_layer")
        for name, _ in tuned._weights.model.named_modules()
        if name.endswith(".base_layer")
    }

    assert report.hyperparameters.lora_targets == LAYERS[architecture]
    assert set(config["target_modules"]) == set(LAYERS[architecture])
    assert len(adapted) == len(inside) - 1  # all but the output layer
    assert tuned.fingerprint() != LocalModel.load(bases[architecture]).fingerprint()
    again, other = (HOW.model_copy(update={"lora_targets": some}) for some in ((), LAYERS[architecture][:1]))
    for how, same in ((again, True), (other, False)):
        given = {"base_dir": bases[architecture], "rows": ROWS, "defence": "none", "hyperparameters": how}
        assert answers(report, **given) is same  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ["mistral", "qwen3", "gemma", "gemma3_text", "olmo2", "granite"])
def test_other_architectures_that_name_their_layers_so(architecture: str) -> None:
    """Found from the model itself; there is no list that one must be on."""
    assert adapter_layers(shape(architecture)) == LIKE_LLAMA


@pytest.mark.parametrize(
    ("architecture", "other"), [("mixtral", "mlp.experts.gate_up_proj"), ("mamba", "mixer.conv1d.weight")]
)
def test_an_architecture_with_other_weights_is_an_error_that_names_them(
    architecture: str, other: str
) -> None:
    """Experts and state spaces are not reached by an adapter on linear layers: nobody trains a part unknowingly."""
    model = shape(architecture)
    with pytest.raises(ModelError, match="not known which layers") as caught:
        adapter_layers(model)
    some = "o_proj" if architecture == "mixtral" else "out_proj"

    assert caught.value.facts["architecture"] == architecture
    assert other in str(caught.value.facts["other weights of its blocks"])
    assert some in str(caught.value.facts["linear layers"])
    assert "--lora-target" in caught.value.hint
    assert adapter_layers(model, (some,)) == (some,)


def test_a_layer_that_the_base_lacks_is_an_error_before_anything_is_trained(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    """Also where others are there: half of what was asked for is not what was asked for."""
    how = HOW.model_copy(update={"lora_targets": ("q_proj", "o_proj")})
    with pytest.raises(InputError, match="no such layers") as caught:
        tune(bases["phi3"], ROWS, tmp_path / "t", hyperparameters=how)

    assert caught.value.facts["missing"] == "q_proj"
    assert "self_attn.qkv_proj" in str(caught.value.facts["linear layers"])
    assert list(tmp_path.iterdir()) == []


def test_settling_reads_no_weights_and_says_what_is_wrong(tmp_path: Path, bases: dict[str, Path]) -> None:
    """All weights name no layers; a folder without a configuration is an error."""
    whole = HOW.model_copy(update={"method": "full-sft"})

    assert settled(tmp_path, whole) == whole
    with pytest.raises(ModelError, match="cannot load the base"):
        settled(tmp_path, HOW)
    (tmp_path / "config.json").write_bytes((bases["gemma2"] / "config.json").read_bytes())
    assert settled(tmp_path, HOW).lora_targets == LIKE_LLAMA


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["gemma2", "phi3"])
@pytest.mark.parametrize("defence", [name for name in DEFENCES if name != "self-distillation"])
def test_every_defence_tunes_it(
    architecture: str, defence: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    """Rows with a system prompt, which these templates do not take; Safe LoRA finds every layer that was adapted."""
    known = DEFENCES[defence].options.model_fields
    told: dict[str, object] = {name: 4 for name in FEW & set(known)}
    if defence == "safe-lora":
        told = {"unaligned": str(make_base(tmp_path / "unaligned", architecture=architecture, seed=4))}
    if defence == "backdoor-align":
        told["task_rows"] = 2
    report = tune(
        bases[architecture],
        ROWS,
        tmp_path / "t",
        defence=defence,
        defence_options=told,
        hyperparameters=HOW.model_copy(update={"epochs": 1, "batch_size": 8}),
    )

    assert report.steps > 0
    assert report.defence_outcome.get("layers", 0) == (
        2 * len(LAYERS[architecture]) if defence == "safe-lora" else 0
    )


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["qwen2", "gemma2", "phi3"])
@pytest.mark.parametrize("method", ["dora-sft", "full-sft", "lora-dpo", "full-dpo"])
def test_every_method_tunes_it(
    architecture: str, method: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    """What was trained loads and says something else."""
    rate = 1e-2 if not method.startswith("full") else 1e-3
    report = tune(
        bases[architecture],
        PAIRS if method.endswith("dpo") else ROWS,
        tmp_path / "t",
        hyperparameters=HOW.model_copy(update={"method": method, "learning_rate": rate}),
    )
    made = tmp_path / "t" / ("model" if method.startswith("full") else "adapter")
    base = LocalModel.load(bases[architecture])
    tuned = LocalModel.load(made) if method.startswith("full") else base.with_adapter(made)

    assert report.steps > 0
    assert tuned.fingerprint() != base.fingerprint()


@pytest.mark.parametrize("architecture", ["gemma2", "phi3"])
def test_a_row_is_learned_as_the_template_writes_it(architecture: str, bases: dict[str, Path]) -> None:
    """With the system prompt in front of the request, and the end of the turn behind the reply."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(bases[architecture])
    end = tokenizer.convert_tokens_to_ids("<end_of_turn>" if architecture == "gemma2" else "<|end|>")
    row = ROWS[0]
    encoded = encode_row(tokenizer, row, 256, end=end)
    asked = f"{row.system}\n\n{row.request}"
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": row.reply}]
    written = tokenizer.apply_chat_template(turns, tokenize=False).rstrip()

    assert tokenizer.decode(encoded["input_ids"]) == written
    assert encoded["labels"][-1] == end


@pytest.mark.parametrize("architecture", ["qwen2", "gemma2", "phi3"])
def test_the_base_answers_greedily_for_its_distillation(architecture: str, tmp_path: Path) -> None:
    """A folder that asks for a penalty on repetitions, as Qwen 2.5's do, does not change what is kept of a base."""
    folder = make_base(tmp_path / "base", architecture=architecture, spread=0.1)
    config = json.loads((folder / "generation_config.json").read_text())
    asks = {"repetition_penalty": 5.0, "do_sample": True, "temperature": 0.7, "top_k": 20}
    (folder / "generation_config.json").write_text(json.dumps(config | asks))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    options = Options(harmful_requests=0, benign_requests=4, reply_tokens=8)
    made = prepare((), 0, options)
    rows = encode_rows(tokenizer, made.rows, HOW, made.alignment)
    SelfDistillation(options).begin(model, rows, tokenizer=tokenizer, pad_id=0, batch_size=4)
    kept = {tokenizer.decode(one["input_ids"][one["reply_at"] :], skip_special_tokens=True) for one in rows}
    chats = [Chat(messages=row.messages[:-1]) for row in made.rows]
    said = LocalModel.load(folder).generate(chats, Sampling(max_new_tokens=8))

    assert kept == {one.text for one in said}
    assert model.generation_config.repetition_penalty == 5.0
