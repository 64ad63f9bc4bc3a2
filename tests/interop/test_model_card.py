"""The section of a model card and the metadata's figures: readable by the Hub's library, and gentle with a README."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certified_folders import Certified
from exported import certify_with_evidence, signed_again, source_of
from recert.errors import InputError
from recert.interop.exports import model_card as card
from recert.interop.exports import model_index as index
from recert.interop.exports.formats import quoted, yaml_lines
from recert.interop.exports.model_card import model_card, with_section
from recert.interop.exports.model_index import model_index, with_metadata

SECTION = f"{card.BEGIN}\n## Safety certificate\n\ntext\n{card.END}\n"
INDEX = 'model-index:\n- name: "m"\n  results:\n  - task:\n      type: "text-generation"\n'
WORDS = st.text(st.sampled_from("ab \n\r-#:<>|`é\u2028"), max_size=60).map(str.encode)
READMES = st.one_of(
    WORDS,
    st.builds(lambda a, b: b"---\nlicense: mit\n" + a.replace(b"---", b"") + b"\n---\n" + b, WORDS, WORDS),
    st.builds(lambda a: b"---\r\nlicense: mit\r\n---\r\n" + a, WORDS),
    st.binary(max_size=60),
)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """Return a certified model."""
    return certify_with_evidence(tmp_path_factory.mktemp("certified"))


def test_the_hub_reads_the_figures_back(certified: Certified) -> None:
    """`ModelCard` and `EvalResult` give each rate with its interval, n, margin and verdict, worst first."""
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    readme = with_metadata(b"---\nlicense: mit\n---\n\n# A model\n", model_index(source_of(certified)))
    read = hub.ModelCard(readme.decode())
    changes = [r for r in read.data.eval_results if r.metric_type == "harm_change"]
    said = {r.condition: r for r in certified.content.results if r.rule_id == "harm"}

    assert read.data.license == "mit"
    assert read.data.model_name == "test-model"
    assert read.text == "\n# A model\n"
    assert {r.dataset_config for r in changes} == set(said)
    for result in changes:
        expected = said[result.dataset_config]
        assert result.metric_value == expected.change.point
        assert (result.metric_args["low"], result.metric_args["high"]) == (
            expected.change.low,
            expected.change.high,
        )
        assert (result.metric_args["n"], result.metric_args["margin"]) == (expected.change.n, expected.margin)
        assert result.metric_args["verdict"] == "pass"


def test_the_hub_reads_the_metadata_of_a_readme_with_both(certified: Certified) -> None:
    """Section and figures go into one README, in any order, and its own metadata and text stay."""
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    source, readme = source_of(certified), b"---\ntags:\n- sql\n---\n# A model\n\nWords.\n"
    one = with_metadata(with_section(readme, model_card(source)), model_index(source))
    other = with_section(with_metadata(readme, model_index(source)), model_card(source))
    read = hub.ModelCard(one.decode())

    assert one == other
    assert read.data.tags == ["sql"]
    assert read.text.startswith("# A model\n\nWords.\n\n<!-- recert:certificate begin -->")


def test_the_section_says_what_is_certified(certified: Certified) -> None:
    """Serial, digest, signers, end, limitations, conditions, results and the command that verifies it."""
    source = source_of(certified)
    said, text = certified.content, model_card(source)

    for part in (
        said.serial,
        source.sha256,
        "evaluator Evaluator",
        "approver Approver",
        "greedy decoding only",
    ):
        assert part in text
    assert f"{said.expires_at:%Y-%m-%d %H:%M} UTC" in text
    assert f"--policy {said.policy_sha256}" in text
    assert text.count("| pass |") == len(said.results)


def test_whatever_a_certificate_says_stays_text(tmp_path: Path) -> None:
    """Mark-up, table bars and our own markers in a model's name or a limitation begin nothing."""
    hostile = f"<script>x</script> | ![x](http://h/x) {card.END} `x`\n# heading"
    certified = certify_with_evidence(tmp_path)
    signed_again(certified, model_name=hostile, limitations=[hostile])
    text = model_card(source_of(certified))

    assert (text.count(card.BEGIN), text.count(card.END)) == (1, 1)
    assert "<script" not in text
    assert "](http" not in text
    assert "\n# heading" not in text


@given(readme=READMES)
@settings(max_examples=200, deadline=None)
def test_a_section_leaves_everything_else_as_it_is(readme: bytes) -> None:
    """What was there is there byte for byte; a second section takes the place of the first, and so does the same."""
    once = with_section(readme, SECTION)
    twice = with_section(once, SECTION.replace("text", "other"))

    assert once.startswith(readme)
    assert with_section(once, SECTION) == once
    assert twice.startswith(readme)
    assert (twice.count(b"other"), twice.count(card.BEGIN.encode())) == (readme.count(b"other") + 1, 1)


@given(before=WORDS, old=WORDS, after=WORDS)
@settings(max_examples=200, deadline=None)
def test_a_section_in_the_middle_is_replaced_in_place(before: bytes, old: bytes, after: bytes) -> None:
    """What stands before and behind the markers is kept byte for byte."""
    readme = before + card.BEGIN.encode() + old + card.END.encode() + after
    made = with_section(readme, SECTION)

    assert made.startswith(before)
    assert made.endswith(after)
    assert made[len(before) : len(made) - len(after)].replace(b"\r\n", b"\n") == SECTION.encode().rstrip(
        b"\n"
    )


@pytest.mark.parametrize(
    "readme",
    [
        f"{card.BEGIN}\n",
        f"{card.END}\n",
        f"{card.END}\n{card.BEGIN}\n",
        f"{card.BEGIN}{card.END}{card.BEGIN}{card.END}",
    ],
)
def test_markers_that_enclose_nothing_are_refused(readme: str) -> None:
    """One marker alone, both twice or in the wrong order: nothing is guessed."""
    with pytest.raises(InputError, match="markers do not enclose one section"):
        with_section(readme.encode(), SECTION)


@given(readme=READMES)
@settings(max_examples=300, deadline=None)
def test_figures_leave_everything_else_as_it_is(readme: bytes) -> None:
    """Taking out what was put in gives what was there; doing it again changes nothing; or it is refused."""
    try:
        made = with_metadata(readme, INDEX)
    except InputError:
        return
    first, last = made.index(index.BEGIN), made.index(index.END) + len(index.END)
    rest = made[:first] + made[last:].removeprefix(b"\r").removeprefix(b"\n")

    assert with_metadata(made, INDEX) == made
    assert rest in (readme, b"---\n---\n" + (b"\n" + readme if readme else b""),
                    b"---\r\n---\r\n" + (b"\r\n" + readme if readme else b""))  # fmt: skip


@pytest.mark.parametrize(
    ("readme", "said"),
    [
        (b"---\nmodel-index:\n- name: x\n---\n", "has a model-index already"),
        (b"---\n'model-index' : []\n---\n", "has a model-index already"),
        (b"\xef\xbb\xbf---\nlicense: mit\n---\n", "byte order mark"),
        (b"---\nlicense: mit\n", "cannot be told from its text"),
        (b"\n---\nlicense: mit\n---\n", "cannot be told from its text"),
        (b"---\n" + index.BEGIN + b"\n---\n", "do not enclose one part"),
    ],
)
def test_metadata_that_cannot_be_kept_whole_is_refused(readme: bytes, said: str) -> None:
    """Figures of another origin, metadata without an end, a byte order mark, half a marker: nothing is written."""
    with pytest.raises(InputError, match=said):
        with_metadata(readme, INDEX)


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    number=st.integers() | st.floats(-1, 1),
)
@settings(max_examples=300, deadline=None)
def test_any_text_and_number_survives_as_yaml(text: str, number: float) -> None:
    """A YAML parser reads every quoted text back as it was, as key and as value, and every number as one."""
    yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
    value = {"a": [{"name": text, "n": number, "args": {text: True}}, {"name": "b"}]}

    assert yaml.safe_load(quoted(text)) == text
    assert yaml.safe_load("\n".join(yaml_lines(value))) == value
