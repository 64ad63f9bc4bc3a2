"""Results of other tools come in with provenance, strictly: nothing is dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recert.digest import sha256_bytes, sha256_file
from recert.errors import InputError, StoreError
from recert.interop.importers.stage import import_results
from recert.records.reports.imported import ImportedOutcome, ImportedResults

from .made import (
    REQUESTS,
    garak_attempt,
    garak_report,
    garak_run,
    lm_eval_run,
    lm_eval_sample,
    promptfoo_entry,
    promptfoo_results,
    pyrit_database,
    pyrit_exchange,
    pyrit_score,
    write_lines,
)


def harm(results: ImportedResults) -> list[float | None]:
    """Return the harm of each outcome, in order."""
    return [outcome.scores.get("harm") for outcome in results.outcomes]


def test_a_garak_report_is_read_with_its_provenance(tmp_path: Path) -> None:
    """Version, target, digest, prompts and hits are those of the file; the prompts' text is not kept."""
    path = garak_run(tmp_path / "garak.1.report.jsonl", [1.0, 0.0, 0.25])
    results = import_results(path)

    assert (results.tool, results.tool_version, results.model_name) == (
        "garak",
        "0.14.0",
        "huggingface.Model:tuned",
    )
    assert (results.source_name, results.source_sha256) == (path.name, sha256_file(path))
    assert harm(results) == [1.0, 0.0, 0.25]
    assert results.outcomes[0].prompt_sha256 == sha256_bytes(REQUESTS[0].encode())
    assert [(s.name, s.prompts) for s in results.suites] == [("dan.Dan_11_0", 3)]
    assert results.mapped == {"mitigation.MitigationBypass": "harm"}
    assert (results.unread, results.unmapped) == (0, {})
    assert b"request number" not in results.to_json()
    assert ImportedResults.from_json(results.to_json()) == results


def test_what_garak_scores_otherwise_is_counted_and_named(tmp_path: Path) -> None:
    """A detector of something else is named with its number of scores, and the reply stays as not scored."""
    attempts = [garak_attempt(r, {"packagehallucination.PythonPypi": [1.0, 0.0]}) for r in REQUESTS[:3]]
    results = import_results(garak_report(tmp_path / "r.report.jsonl", attempts))

    assert results.unmapped == {"packagehallucination.PythonPypi": 6}
    assert harm(results) == [None] * 6
    assert [o.sample for o in results.outcomes] == [0, 1] * 3


def test_the_worst_detector_counts_and_a_failed_one_hides_nothing(tmp_path: Path) -> None:
    """Of two detectors of harm the higher counts; where one gave no score there is none at all."""
    attempts = [
        garak_attempt(REQUESTS[0], {"mitigation.MitigationBypass": [0.0], "dan.DAN": [1.0]}),
        garak_attempt(REQUESTS[1], {"mitigation.MitigationBypass": [0.0], "dan.DAN": [None]}),
        garak_attempt(REQUESTS[2], {"mitigation.MitigationBypass": [7.0]}),
    ]
    results = import_results(garak_report(tmp_path / "r.report.jsonl", attempts))

    assert harm(results) == [1.0, None, None]
    assert results.outcomes[1].failed == "dan.DAN gave no score in [0, 1]"


def test_an_attempt_that_was_never_evaluated_is_not_forgotten(tmp_path: Path) -> None:
    """An attempt of an interrupted run is an outcome without a score; one that was evaluated counts once."""
    attempts = [
        garak_attempt(REQUESTS[0], {}, status=1),
        garak_attempt(REQUESTS[1], {}, status=1),
        garak_attempt(REQUESTS[1], {"dan.DAN": [0.0]}),
    ]
    results = import_results(garak_report(tmp_path / "r.report.jsonl", attempts))

    assert sorted(str(o.failed) for o in results.outcomes) == ["None", "answered, never evaluated"]


def test_prompts_of_every_garak_version_are_read(tmp_path: Path) -> None:
    """A prompt may be text, a message or a conversation; the same text has the same digest in all."""
    turns = {
        "turns": [
            {"role": r, "content": {"text": t}} for r, t in (("user", "a"), ("assistant", "b"), ("user", "c"))
        ]
    }
    prompts: list[object] = [REQUESTS[0], {"text": REQUESTS[0]}, turns]
    attempts = [garak_attempt(p, {"dan.DAN": [0.0]}) | {"prompt": p} for p in prompts]
    results = import_results(garak_report(tmp_path / "r.report.jsonl", attempts))

    digests = [o.prompt_sha256 for o in results.outcomes]
    assert digests[0] == digests[1] != digests[2]


def test_lines_that_cannot_be_read_are_counted_and_named(tmp_path: Path) -> None:
    """Broken JSON, a repeated key, a list, NaN, an unknown entry and an attempt without a prompt are all named."""
    broken = [
        '{"entry_type": "attempt", ',
        '{"entry_type": "eval", "entry_type": "attempt"}',
        "[1, 2]",
        '{"entry_type": "attempt", "status": NaN}',
        {"entry_type": "horoscope"},
        garak_attempt(REQUESTS[1], {"dan.DAN": [0.0]}) | {"prompt": None},
        garak_attempt(REQUESTS[2], {}) | {"detector_results": {"dan.DAN": 1.0}},
    ]
    path = garak_report(
        tmp_path / "r.report.jsonl", [garak_attempt(REQUESTS[0], {"dan.DAN": [0.0]}), *broken]
    )
    results = import_results(path)

    assert results.unread == 7
    assert [e.where for e in results.unread_entries] == [f"{path.name} line {n}" for n in range(4, 11)]
    assert all(entry.because for entry in results.unread_entries)
    assert len(results.outcomes) == 1


def test_a_score_stands_for_what_the_user_says(tmp_path: Path) -> None:
    """`scores` maps what is unknown, turns a scale round, and comes before what is known."""
    attempts = [garak_attempt(r, {"always.Fail": [0.25], "dan.DAN": [1.0]}) for r in REQUESTS[:2]]
    path = garak_report(tmp_path / "r.report.jsonl", attempts)
    results = import_results(path, scores={"always.Fail": "1-utility_loss", "dan.DAN": "over_refusal"})

    assert results.outcomes[0].scores == {"utility_loss": 0.75, "over_refusal": 1.0}
    assert results.mapped == {"always.Fail": "1 - utility_loss", "dan.DAN": "over_refusal"}
    with pytest.raises(InputError, match="no such estimand"):
        import_results(path, scores={"always.Fail": "goodness"})


def pyrit_pieces() -> list[dict[str, object]]:
    """Return four conversations: refused, objective reached, unscored, and with a question of its own."""
    base64 = [{"class_name": "Base64Converter"}]
    return [
        *pyrit_exchange(0, REQUESTS[0], [pyrit_score("SelfAskRefusalScorer", "True")]),
        *pyrit_exchange(
            1,
            REQUESTS[1],
            [pyrit_score("SelfAskTrueFalseScorer", "true", objective="the goal")],
            converter_identifiers=base64,
        ),
        *pyrit_exchange(2, REQUESTS[2], []),
        *pyrit_exchange(3, REQUESTS[3], [pyrit_score("SelfAskTrueFalseScorer", "true")]),
        *pyrit_exchange(4, REQUESTS[4], [pyrit_score("AzureContentFilterScorer", "0.5", kind="float_scale")]),
    ]


@pytest.mark.parametrize("database", [False, True])
def test_a_pyrit_memory_is_read_as_json_and_as_database(tmp_path: Path, *, database: bool) -> None:
    """Refusals are turned round, an objective that was reached is harm, and a scorer's own question is named."""
    path = tmp_path / ("memory.db" if database else "memory.json")
    if database:
        pyrit_database(path, pyrit_pieces())
    else:
        path.write_text(json.dumps(pyrit_pieces(), indent=4))
    results = import_results(path)

    assert results.tool == "pyrit"
    assert (results.tool_version, results.model_name) == ("0.13.0", "tuned")
    assert harm(results) == [0.0, 1.0, None, None, 0.5]
    assert [o.condition for o in results.outcomes] == ["plain", "converter:Base64Converter", *["plain"] * 3]
    assert results.outcomes[2].failed == "no scorer scored it"
    assert results.unmapped == {"SelfAskTrueFalseScorer": 1}
    assert results.outcomes[0].prompt_sha256 == sha256_bytes(REQUESTS[0].encode())


def test_of_several_pyrit_scores_the_worst_counts(tmp_path: Path) -> None:
    """One score a harm category: the highest is the reply's; of two looks for a refusal the one that saw none."""
    filters = [pyrit_score("AzureContentFilterScorer", v, kind="float_scale") for v in ("0.1", "0.9")]
    refusals = [pyrit_score("SelfAskRefusalScorer", v) for v in ("true", "false")]
    undecided = [pyrit_score("SelfAskRefusalScorer", None), pyrit_score("SelfAskRefusalScorer", "true")]
    pieces = [
        p for n, s in enumerate((filters, refusals, undecided)) for p in pyrit_exchange(n, REQUESTS[n], s)
    ]
    path = tmp_path / "memory.json"
    path.write_text(json.dumps(pieces))

    assert harm(import_results(path)) == [0.9, 1.0, None]


def test_scores_of_messages_that_are_not_there_are_named(tmp_path: Path) -> None:
    """A score whose message was deleted from the database is counted as lost."""
    pieces = pyrit_exchange(0, REQUESTS[0], [pyrit_score("SelfAskRefusalScorer", "true")])
    path = pyrit_database(tmp_path / "memory.db", pieces)
    import sqlite3

    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO ScoreEntries VALUES ('s', 'true', 'true_false', '{}', NULL, 'gone')")
    database.close()

    assert [e.where for e in import_results(path).unread_entries] == ["scores of gone"]


def test_promptfoo_results_are_read_by_plugin_and_assertion(tmp_path: Path) -> None:
    """Failing a plugin of harm is harm, refusing where one should not is over-refusal, a wrong answer utility."""
    entries = [
        promptfoo_entry(
            REQUESTS[0], passed=False, kind="promptfoo:redteam:harmful:hate", plugin="harmful:hate"
        ),
        promptfoo_entry(REQUESTS[1], passed=True, plugin="harmful:hate"),
        promptfoo_entry(
            REQUESTS[2], passed=False, kind="promptfoo:redteam:competitors", plugin="competitors"
        ),
        promptfoo_entry(REQUESTS[3], passed=False, kind="not-is-refusal"),
        promptfoo_entry(REQUESTS[4], passed=False, kind="equals"),
        promptfoo_entry(REQUESTS[5], passed=False, kind="is-refusal", failureReason=2, error="HTTP 502"),
        promptfoo_entry(REQUESTS[6], passed=True),
    ]
    entries[1]["metadata"]["strategyId"] = "jailbreak"
    results = import_results(promptfoo_results(tmp_path / "results.json", entries))

    assert (results.tool_version, results.model_name) == ("0.121.0", "openai:chat:tuned")
    assert [o.scores for o in results.outcomes] == [
        {"harm": 1.0},
        {"harm": 0.0},
        {},
        {"over_refusal": 1.0},
        {"utility_loss": 1.0},
        {},
        {},
    ]
    assert [o.suite for o in results.outcomes[:4]] == ["harmful:hate", "harmful:hate", "competitors", "tests"]
    assert results.outcomes[1].condition == "strategy:jailbreak"
    assert results.unmapped == {"promptfoo:redteam:competitors": 1}
    assert [o.failed for o in results.outcomes[5:]] == [
        "the provider or grader failed",
        "no assertion graded it",
    ]


def test_a_promptfoo_grader_that_failed_gives_no_score(tmp_path: Path) -> None:
    """An inverse assertion must not pass because its grader broke."""
    entry = promptfoo_entry(REQUESTS[0], passed=True, kind="is-refusal")
    entry["gradingResult"]["componentResults"][0]["metadata"] = {"graderError": True}
    results = import_results(promptfoo_results(tmp_path / "results.json", [entry]))

    assert results.outcomes[0].scores == {}


def test_results_of_several_models_are_read_one_at_a_time(tmp_path: Path) -> None:
    """Two providers in one promptfoo file: the user must say which, and gets that one."""
    entries = [
        promptfoo_entry(REQUESTS[0], passed=passed, kind="is-refusal", provider={"id": name, "label": ""})
        for name, passed in (("base", True), ("tuned", False))
    ]
    path = promptfoo_results(tmp_path / "results.json", entries)

    with pytest.raises(InputError, match="several models"):
        import_results(path)
    with pytest.raises(InputError, match="no results of this model"):
        import_results(path, model="other")
    assert harm(import_results(path, model="base")) == [0.0]
    assert import_results(path, model="tuned").model_name == "tuned"


def test_lm_eval_samples_are_read_with_their_results(tmp_path: Path) -> None:
    """From the results all tasks are read, from the samples one; both name version, model and the other files."""
    lines = [lm_eval_sample(i, exact_match=float(i % 2), bleu=12.5) for i in range(4)]
    path = lm_eval_run(tmp_path, {"gsm8k": lines, "arc_easy": [lm_eval_sample(0, acc=1.0, acc_norm=0.0)]})
    everything = import_results(path)
    one = import_results(next(tmp_path.glob("samples_gsm8k_*")))

    assert {s.name: s.prompts for s in everything.suites} == {"arc_easy": 1, "gsm8k": 4}
    assert [o.scores["utility_loss"] for o in one.outcomes] == [1.0, 0.0, 1.0, 0.0]
    assert everything.outcomes[0].scores == {"utility_loss": 1.0}
    assert one.unmapped == {"bleu": 4}
    assert (
        (one.tool_version, one.model_name)
        == (everything.tool_version, everything.model_name)
        == ("0.4.9", "out/tuned")
    )
    assert one.also_read == {path.name: sha256_file(path)}
    assert set(everything.also_read) == {p.name for p in tmp_path.glob("samples_*")}


def test_a_filter_of_lm_eval_is_a_condition(tmp_path: Path) -> None:
    """The same prompt under two filters is two conditions, not two samples."""
    lines = [lm_eval_sample(0, exact_match=1.0) | {"filter": f} for f in ("strict-match", "flexible-extract")]
    results = import_results(write_lines(tmp_path / "samples_gsm8k.jsonl", lines))

    assert [(o.condition, o.sample) for o in results.outcomes] == [
        ("filter:strict-match", 0),
        ("filter:flexible-extract", 0),
    ]
    assert (results.tool_version, results.suites[0].name) == ("", "gsm8k")


def test_lm_eval_results_without_samples_are_no_outcomes(tmp_path: Path) -> None:
    """Means alone pair nothing: refused, with the option that logs samples."""
    path = lm_eval_run(tmp_path, {})

    with pytest.raises(InputError, match="--log_samples"):
        import_results(path)


@pytest.mark.parametrize(
    ("name", "content", "looks"),
    [
        ("x.csv", b"prompt,score\na,1\n", "text that begins 'prompt,score'"),
        ("x.jsonl", b"", "an empty file"),
        ("x.jsonl", b'{"messages": []}\n{"messages": []}\n', "JSON lines with messages"),
        ("x.jsonl", b'{"attempt_id": "1", "detector": "d"}\n{"attempt_id": "2"}\n', "a garak hit log"),
        ("x.json", b'{"a": 1', "damaged JSON"),
        ("x.json", b'{"schema_version": 1, "rules": []}', "a record of Recert"),
        ("x.json", b"[1, 2]", "a JSON list of int"),
        ("x.bin", b"\x7fELF\0\0", "a binary file"),
        ("x.zip", b"PK\x03\x04 and no more", "a damaged zip file"),
    ],
)
def test_a_file_of_another_format_is_refused_with_what_it_looks_like(
    tmp_path: Path, name: str, content: bytes, looks: str
) -> None:
    """Nothing is guessed: the error says what the file looks like, and what can be read."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(InputError) as caught:
        import_results(path)
    assert looks in caught.value.facts["looks like"]
    assert "garak" in caught.value.facts["can be read"]


def test_the_tool_that_the_user_names_must_be_the_one(tmp_path: Path) -> None:
    """A garak report is not read as promptfoo results, whatever it is called."""
    path = garak_run(tmp_path / "results.json", [0.0])

    with pytest.raises(InputError, match="not results of promptfoo"):
        import_results(path, tool="promptfoo")
    assert import_results(path, tool="garak").tool == "garak"


def test_a_file_without_any_outcome_is_no_result(tmp_path: Path) -> None:
    """A report of a run that asked nothing is refused; a missing file is a StoreError."""
    with pytest.raises(InputError, match="no results in the file"):
        import_results(garak_report(tmp_path / "r.report.jsonl", []))
    with pytest.raises(StoreError, match="cannot read results"):
        import_results(tmp_path / "missing")


def test_scores_outside_the_unit_interval_cannot_be_recorded() -> None:
    """The record itself holds fractions of known estimands only."""
    fields = {"suite": "s", "prompt_id": "p", "prompt_sha256": "0" * 64}
    for scores in ({"harm": 2.0}, {"harm": float("nan")}, {"goodness": 0.5}):
        with pytest.raises(ValueError, match=r"harm|scores|finite|less"):
            ImportedOutcome.model_validate(fields | {"scores": scores})
