"""
The public sets that Recert knows by name: where each lies, the bytes it is known by, and how its rows are read.

No text of any set is part of Recert. Every entry is frozen to a commit; where the sha256 of the file is known,
only that file is read. Names of categories follow `public_categories.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from recert.evaluation.suites import public_categories as categories


@dataclass(frozen=True)
class PublicSet:
    """
    One public set of prompts.

    Attributes:
        name: what it is asked for by.
        source: `hub` (a dataset on the Hugging Face Hub) or `github`.
        repository: owner and name there.
        revision: the commit.
        file: the file in it.
        sha256: digests of the file's known editions; empty where none could be known.
        columns: which column holds which field of a prompt.
        expect: what a good model does.
        licence: as its authors say.
        paper: its arXiv number.
        categories: names of `recert.records.data.suite.CATEGORIES` by the set's own names.
        codes: the set's own names by the codes that its file has in their place.
        where: values that a row must have to belong to the set.
        gated: whether its terms must be accepted before it can be downloaded.
    """

    name: str
    source: Literal["hub", "github"]
    repository: str
    revision: str
    file: str
    sha256: tuple[str, ...]
    columns: Mapping[str, str]
    expect: Literal["refuse", "comply"]
    licence: str
    paper: str
    categories: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    gated: bool = False

    @property
    def page(self) -> str:
        """Where a person reads about it."""
        site = "huggingface.co/datasets" if self.source == "hub" else "github.com"
        return f"https://{site}/{self.repository}"


_HARMBENCH: Final = PublicSet(
    name="harmbench",
    source="github",
    repository="centerforaisafety/HarmBench",
    revision="c0423b952435fcc8467108d8f25962dbae5b7de2",
    file="data/behavior_datasets/harmbench_behaviors_text_all.csv",
    sha256=("8d81accedd38eaaf8b760618622bb888417d1fd0c86eba65c427a16f1cbb4afc",),
    columns={"text": "Behavior", "context": "ContextString", "category": "SemanticCategory"},
    expect="refuse",
    licence="MIT",
    paper="2402.04249",
    categories=categories.HARMBENCH,
)
_JAILBREAKBENCH: Final = PublicSet(
    name="jailbreakbench",
    source="hub",
    repository="JailbreakBench/JBB-Behaviors",
    revision="886acc352a31533ffbcf4ef22c744658688086fc",
    file="data/harmful-behaviors.csv",
    sha256=(
        "4a8ec6832056b631eb092dccc60d37a61c3d441268268888b3d006288afeffa1",
        # the same 100 requests as the benchmark's own package carried them
        "45e9a8923b28f547bb372fbaa9af7df8b38c818a80ae50c3bab97704197ff516",
    ),
    columns={"text": "Goal", "category": "Category"},
    expect="refuse",
    licence="MIT",
    paper="2404.01318",
    categories=categories.JAILBREAKBENCH,
)
_XSTEST: Final = PublicSet(
    name="xstest-safe",
    source="hub",
    repository="Paul/XSTest",
    revision="f600c994b256f12867dfa5b3eb3d545a3e62f8b5",
    file="xstest_prompts.csv",
    sha256=("11783fb294ed017473ee53c207d71f2161c7672c8d0b037501e78387f801cb5a",),
    columns={"text": "prompt", "category": "type"},
    expect="comply",
    licence="CC-BY-4.0",
    paper="2308.01263",
    categories=categories.XSTEST,
    where={"label": "safe"},
)
_OR_BENCH: Final = PublicSet(
    name="or-bench-hard",
    source="hub",
    repository="bench-llm/or-bench",
    revision="e36d8b80e81837c8a8f264bbb2a49f1b32c7e272",
    file="or-bench-hard-1k.csv",
    sha256=("a6e2f1166416efe5901f3bb05c47dc92ab3aca3acfe143693d38b8057d841e6d",),
    columns={"text": "prompt", "category": "category"},
    expect="comply",
    licence="CC-BY-4.0",
    paper="2405.20947",
    categories=categories.OR_BENCH,
)

_SETS: Final = (
    PublicSet(
        name="strongreject",
        source="github",
        repository="alexandrasouly/strongreject",
        revision="f7cad6c17e624e21d8df2278e918ae1dddb4cb56",
        file="strongreject_dataset/strongreject_dataset.csv",
        sha256=("4dd70357e4ff8b5d0ba5ebafecab5d6dd5633ce8046e3dd1c8bd93e64de44381",),
        columns={"text": "forbidden_prompt", "category": "category"},
        expect="refuse",
        licence="MIT",
        paper="2402.10260",
        categories=categories.STRONGREJECT,
    ),
    PublicSet(
        name="advbench",
        source="github",
        repository="llm-attacks/llm-attacks",
        revision="098262edf85f807224e70ecd87b9d83716bf6b73",
        file="data/advbench/harmful_behaviors.csv",
        sha256=("6cd1a5c63c07610d7eb67307772ee5606017ee950b5770ab288a2c487489d3e1",),
        columns={"text": "goal"},
        expect="refuse",
        licence="MIT",
        paper="2307.15043",
    ),
    PublicSet(
        name="ailuminate-demo",
        source="github",
        repository="mlcommons/ailuminate",
        revision="0fe054f3d34209a0a1acf1b95174c5e8926f5c57",
        file="airr_official_1.0_demo_en_us_prompt_set_release.csv",
        sha256=("63e2b654325c5405096fabf28ef5f057b0ad674904b1839fd1f52b523e324d02",),
        columns={"text": "prompt_text", "category": "hazard"},
        expect="refuse",
        licence="CC-BY-4.0",
        paper="2503.05731",
        categories=categories.AILUMINATE,
    ),
    _HARMBENCH,
    replace(_HARMBENCH, name="harmbench-standard", where={"FunctionalCategory": "standard"}),
    _JAILBREAKBENCH,
    replace(
        _JAILBREAKBENCH,
        name="jailbreakbench-benign",
        file="data/benign-behaviors.csv",
        sha256=("3cda234d21a991fa309bbfea4b6d9dae31ccdf8e9d452424b6a983e4fdc33468",),
        expect="comply",
    ),
    _XSTEST,
    replace(_XSTEST, name="xstest-unsafe", expect="refuse", where={"label": "unsafe"}),
    _OR_BENCH,
    replace(_OR_BENCH, name="or-bench-toxic", file="or-bench-toxic.csv", sha256=(), expect="refuse"),
    PublicSet(
        name="sorry-bench",
        source="hub",
        repository="sorry-bench/sorry-bench-202503",
        revision="612a4e1f45db8adf884fa62318ddf9fa1c6e75e9",
        file="question.jsonl",
        sha256=(),
        columns={"text": "turns", "category": "category"},
        expect="refuse",
        licence="its own agreement, no redistribution",
        paper="2406.14598",
        categories=categories.SORRY_BENCH,
        codes=categories.SORRY_BENCH_CODES,
        where={"prompt_style": "base"},
        gated=True,
    ),
    PublicSet(
        name="simple-safety-tests",
        source="github",
        repository="bertiev/SimpleSafetyTests",
        revision="d7aee9a9422a5a5488f478fd79c2479c891c0f3b",
        file="SimpleSafetyTests - test cases.csv",
        sha256=("6d95a1301e0d0f3a3c4cf5392f4afff11ad6e3066f95d23aaa138d44aedf986c",),
        columns={"text": "prompts_final|prompt", "category": "harm_area"},
        expect="refuse",
        licence="CC-BY-2.0",
        paper="2311.08370",
        categories=categories.SIMPLE_SAFETY_TESTS,
    ),
    PublicSet(
        name="do-not-answer",
        source="hub",
        repository="LibrAI/do-not-answer",
        revision="74e74f2e4507ef256fe536f78a776f4a1ff67955",
        file="data_en.csv",
        sha256=(),
        columns={"text": "question", "category": "types_of_harm"},
        expect="refuse",
        licence="CC-BY-NC-SA-4.0 (its card says Apache-2.0)",
        paper="2308.13387",
        categories=categories.DO_NOT_ANSWER,
    ),
)

PUBLIC_SETS: Final[dict[str, PublicSet]] = {one.name: one for one in _SETS}
"""Every public set by name."""
