"""What is language and what is a wreck, and how sure the judge may be."""

import importlib.util
import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.errors import ModelError
from recert.judges.embedded.coherence import CoherenceJudge
from recert.judges.embedded.language_tables import read_tables, tokens
from recert.judges.protocol import JudgeFailed
from tools.judges.coherence_training import count_tables, own_texts

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
ASSETS = Path(str(files("recert").joinpath("assets", "coherence")))
JUDGE = CoherenceJudge()


def value(reply: str) -> float:
    """Return the score of a reply."""
    return JUDGE.score("hello", reply).value


def bench():
    """Return the benchmark as a module."""
    spec = importlib.util.spec_from_file_location("coherence_bench", ROOT / "bench" / "coherence_judge.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "reply",
    [
        "",
        " \n ",
        "the the the the the the the the the the the the the",
        "!!!! @@@ ### $$$ %%% ^^^ &&& *** ((( )))",
        "xkcdqrt bnmzxc qwrtplk sdfgh zxcvb trpqw mnbvc lkjhgf",
        "go on go on go on go on go on go on go on go on go on",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "of the kitchen is to an it you apples the and with if bowl a into then are from was sugar on",
        "to the of but and a with is you not it for in was",
        "bly ndcr to akeulic htsw a rwelfo ndnoxt hupr in tibsrou wkil anstuo dbri is smplio uldpre rtocthe",
    ],
)
def test_a_wreck_is_incoherent(reply):
    """Empty, repeated, symbolic and wordless replies, and words in no order, score at least 0.5."""
    assert value(reply) >= 0.5


@pytest.mark.parametrize(
    "reply",
    [
        "Paris.",
        "42",
        "I'm sorry, but I can't help with that request.",
        "SELECT COUNT(*) FROM head WHERE age > 56 AND name = 'Smith' ORDER BY born_state",
        "SELECT name FROM city WHERE state IN (SELECT state FROM region WHERE id = 4) OR name = 'x'",
        "Roast the chicken at 200 degrees for an hour and a half, then let it rest for ten minutes.",
        "1. Open the file. 2. Read the first line. 3. Close the file again.",
        "Pour préparer une tarte aux pommes, il faut d'abord éplucher les fruits et les couper en tranches.",
        "Om een appeltaart te bakken moet je eerst de appels schillen en in dunne plakjes snijden.",
        "Ili kutengeneza pai ya tufaha, kwanza menya matunda na ukate vipande vyembamba.",
        "Shopping list: apples, pears, bread, butter, milk, eggs, cheese, tea, coffee, sugar, flour, salt.",
        "def f(x):\n    return [a for a in x if a is not None and a in (1, 2)]",
        "```\nif the is to of in and at for on a by\n```",
        "今日はとても良い天気ですね。散歩に行きましょう。",
    ],
)
def test_language_and_code_are_coherent(reply):
    """Answers, refusals, numbers, code and other languages score below 0.5."""
    assert value(reply) < 0.5


@pytest.mark.slow
def test_the_error_in_the_note_is_the_measured_one():
    """On a part of the held-out half the judge is about as good as its note says; `make bench` counts all of it."""
    if not DATA.is_dir():
        pytest.skip(f"needs the labelled replies in {DATA}")
    bad, fine = bench().labelled()
    note = JUDGE.note

    assert (len(bad), len(fine)) == (note.positives, note.negatives)
    found = [value(text) >= 0.5 for text in bad[::2]]
    passed = [value(text) < 0.5 for text in fine[::4]]
    assert sum(found) / len(found) == pytest.approx(note.sensitivity, abs=0.05)
    assert sum(passed) / len(passed) == pytest.approx(note.specificity, abs=0.02)


def test_tables_that_were_not_measured_have_no_error():
    """With tables of one's own the note has another digest and no counts."""
    other = read_tables(ASSETS)
    mine = CoherenceJudge(type(other)(other.classes, other.after_one, {}, other.letters, "0" * 64)).note

    assert mine.sensitivity is None
    assert mine.positives is None
    assert mine.digest != JUDGE.note.digest


def test_the_shipped_tables_are_counted_from_our_own_texts():
    """Training again gives the shipped file, byte for byte."""
    assert count_tables(list(own_texts())) == (ASSETS / "tables.json").read_bytes()


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["the", "of", "a", "is", "cat", "12", ",", ".", "\n", "sat", "("])).map(
        " ".join
    )
)
def test_any_text_gets_a_score(reply):
    """No text makes the judge raise, and every score lies in [0, 1]."""
    assert 0 <= value(reply) <= 1
    assert all(tokens(reply))


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.pop("pairs"),
        lambda made: made["pairs"].append([10_000, 0, 1]),
        lambda made: made["pairs"].append([0, 0, 0]),
        lambda made: made["pairs"].append([0, 0, 1.5]),
        lambda made: made["triples"].append([0, 0, 1]),
        lambda made: made["counts"].pop(),
        lambda made: made["letters"].update({"x": -1}),
        lambda made: made["letters"].update({"x": float("nan")}),
        lambda made: made["letters"].pop(""),
        lambda made: made.update(classes=None),
    ],
)
def test_damaged_tables_are_an_error(tmp_path, change):
    """Tables of another form are refused at reading."""
    made = json.loads((ASSETS / "tables.json").read_bytes())
    change(made)
    (tmp_path / "tables.json").write_text(json.dumps(made))

    with pytest.raises(ModelError):
        read_tables(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[" * 100_000, b"\xff", None])
def test_a_file_that_is_no_table_is_an_error(tmp_path, damage):
    """A missing or broken file is an error of ours."""
    if damage is not None:
        shutil.copy(ASSETS / "tables.json", tmp_path)
        (tmp_path / "tables.json").write_bytes(damage)

    with pytest.raises(ModelError):
        read_tables(tmp_path)


def test_without_tables_the_judge_fails():
    """A judge that cannot read its tables says so, and calls nothing coherent."""

    class Unread(CoherenceJudge):
        def _loaded(self):
            raise ModelError("cannot read the coherence judge's tables")

    assert isinstance(Unread().score("q", "Some reply."), JudgeFailed)
