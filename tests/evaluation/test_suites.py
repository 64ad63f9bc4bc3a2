import json
from collections import Counter
from pathlib import Path

import pytest

from recert.errors import PolicyError, SuiteError
from recert.evaluation import EMBEDDED, embedded_suite, suite_from_file
from recert.evaluation.measuring.conditions import raw_conditions
from recert.evaluation.suites.ordering import sampling_order
from recert.evaluation.suites.reading import kept_from_rows, shipped_suites
from recert.records.data.suite import CATEGORIES, Prompt

DATA = Path(__file__).parents[2].parent / "shared" / "data"
TRAINED_ON = [name for name in EMBEDDED if name != "scenarios"]


def plain(text: str) -> str:
    """Return a text without case, punctuation and spacing."""
    return "".join(c for c in text.lower() if c.isalnum())


@pytest.mark.parametrize("name", EMBEDDED)
def test_alignment_and_evaluation_parts_do_not_overlap(name):
    """No prompt of the evaluation part, by id or by words, is in a part that is trained on, in any suite."""
    asked = (*embedded_suite(name).prompts, *embedded_suite(name, "sealed").prompts)
    trained = [p for other in TRAINED_ON for p in embedded_suite(other, "alignment").prompts]

    assert not {p.id for p in asked} & {p.id for p in trained}
    assert not {plain(p.text) for p in asked} & {plain(p.text) for p in trained}
    kept = embedded_suite(name, "alignment").prompts if name in TRAINED_ON else ()
    assert len(asked) + len(kept) == len(embedded_suite(name, "all").prompts)


def test_the_embedded_suites_are_as_large_as_promised():
    """Each suite has a thousand prompts that nothing is trained on, a third of them sealed; hazards are all there."""
    for name in EMBEDDED:
        asked, sealed = (embedded_suite(name, part).prompts for part in ("evaluation", "sealed"))

        assert len(asked) + len(sealed) >= 1000
        assert 0.3 <= len(sealed) / (len(asked) + len(sealed)) <= 0.36
    for name in ("harmful", "scenarios"):
        assert {p.category for p in embedded_suite(name).prompts} == set(CATEGORIES)


@pytest.mark.slow
def test_sealed_prompts_are_in_no_open_part_and_no_row_may_hold_one():
    """What is held back is in no open part, and screening is told of it, whatever suites are given."""
    sealed = {p.text for suite in shipped_suites().values() for p in suite.sealed}
    asked = {p.text for suite in shipped_suites().values() for p in suite.prompts}

    assert sealed <= {p.text for p in kept_from_rows(shipped_suites().values())}
    assert sealed == {p.text for p in kept_from_rows(())}

    assert len(sealed) >= 1300
    assert not sealed & asked


def test_the_embedded_suites_say_what_is_expected():
    """Harmful requests are to be refused, all others answered; no text occurs twice."""
    texts = []
    for name in EMBEDDED:
        prompts = embedded_suite(name, "all").prompts
        texts += [plain(p.text) for p in prompts]

        assert {p.expect for p in prompts} == {"refuse" if name in ("harmful", "scenarios") else "comply"}
    assert len(texts) == len(set(texts))


def test_the_beginning_of_the_order_is_balanced_and_the_same_everywhere():
    """The first 24 harmful prompts hold one to three of each category; another seed gives another order."""
    prompts = list(embedded_suite("harmful").prompts)
    ordered = sampling_order(prompts, seed=0)

    assert set(Counter(p.category for p in ordered[:24]).values()) <= {1, 2, 3}
    assert {p.category for p in ordered[:24]} == set(CATEGORIES)
    assert ordered == sampling_order(prompts[::-1], seed=0)
    assert sorted(p.id for p in ordered) == sorted(p.id for p in prompts)
    assert ordered != sampling_order(prompts, seed=1)


@pytest.mark.parametrize(
    "sizes", [{"big": 334, **{f"small{n}": 6 for n in range(11)}}, {"a": 150, "b": 40, "c": 10}]
)
def test_any_beginning_of_the_order_holds_each_category_in_proportion(sizes):
    """
    However unequal categories are, the first n prompts hold n times a category's share of it, give or take two; over
    seeds exactly that on average, so that harm in one category is seen as often as it occurs.
    """
    prompts = [
        Prompt(id=f"{name}-{n}", text=f"{name} {n}", category=name, expect="refuse")
        for name, many in sizes.items()
        for n in range(many)
    ]
    seeds, first, total = 60, 48, len(prompts)
    seen = Counter[str]()
    for seed in range(seeds):
        ordered = sampling_order(prompts, seed=seed)
        seen.update(p.category for p in ordered[:first])
        for n in (24, 48, 120, total):
            counts = Counter(p.category for p in ordered[:n])

            assert all(abs(counts[name] - n * many / total) <= 2 for name, many in sizes.items())
    for name, many in sizes.items():
        assert abs(seen[name] / seeds - first * many / total) < 0.25


def test_a_csv_with_any_columns_is_a_suite(tmp_path):
    """Usual column names are found, others are mapped, and rows can be left out."""
    path = tmp_path / "mine.csv"
    path.write_text('goal,kind\n"how, with a comma",a\nsecond,b\n', encoding="utf-8")

    usual = suite_from_file(path)
    mapped = suite_from_file(path, columns={"text": "kind", "category": "goal"}, expect="comply", name="x")
    kept = suite_from_file(path, keep=lambda row: row["kind"] == "b")

    assert [p.text for p in usual.prompts] == ["how, with a comma", "second"]
    assert (mapped.name, mapped.prompts[1].text, mapped.prompts[1].expect) == ("x", "b", "comply")
    assert len(kept.prompts) == 1
    assert "sha256:" in usual.provenance


def test_json_and_jsonl_are_suites_too(tmp_path):
    """A list of objects and a file of lines give the same prompts."""
    rows = [{"question": "how many", "answer": "SELECT 1"}, {"question": "how old", "answer": "SELECT 2"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))

    as_list = suite_from_file(tmp_path / "a.json", expect="comply")

    assert as_list.prompts == suite_from_file(tmp_path / "a.jsonl", expect="comply").prompts
    assert as_list.prompts[0].answer == "SELECT 1"


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("a.jsonl", '{"text": "x"}\nnot json\n', {}),
        ("a.jsonl", '["x"]', {}),
        ("a.jsonl", '{"other": "x"}', {}),
        ("a.jsonl", '{"text": "x", "id": "1"}\n{"text": "y", "id": "1"}', {}),
        ("a.jsonl", "", {}),
        ("a.csv", "goal\n", {}),
        ("a.csv", "goal\nx\n", {"text": "absent"}),
        ("a.csv", "goal\nx\n", {"texts": "goal"}),
    ],
)
def test_a_suite_that_cannot_be_used_is_named(tmp_path, name, text, columns):
    """Each fault of a suite file raises SuiteError with the row, column or line."""
    (tmp_path / name).write_text(text)
    with pytest.raises(SuiteError):
        suite_from_file(tmp_path / name, columns=columns)


def test_missing_suites_and_families_are_named(tmp_path):
    """An unknown suite, file or family raises an error that lists what there is."""
    with pytest.raises(SuiteError, match="harmful"):
        embedded_suite("nothing")
    with pytest.raises(SuiteError):
        suite_from_file(tmp_path / "absent.csv")
    with pytest.raises(PolicyError, match="year_2025"):
        raw_conditions(["nothing"], [])


def test_public_benchmarks_are_read_as_they_are():
    """The public files load by their own column names."""
    if not DATA.is_dir():
        pytest.skip(f"needs the public files in {DATA}")
    counts = {n: len(suite_from_file(DATA / f"{n}.csv").prompts) for n in ("strongreject", "advbench")}

    assert counts == {"strongreject": 313, "advbench": 520}
    sql = suite_from_file(DATA / "sql_create_context_test200.json", expect="comply")
    assert len(sql.prompts) == 200
    assert all(p.answer for p in sql.prompts)
