"""The commands that evaluate and certify a model again."""

from __future__ import annotations

import shlex
from pathlib import Path

from builders import make_ears, make_eval_report, make_screen_report
from recert.certification.status.register import FoundCertificate
from recert.records.signed.certificate import Certificate
from recert.workflows.rerun import commands_again
from stories import certificate as make_certificate
from stories import evaluation


def found(folder: Path, certificate: Certificate) -> FoundCertificate:
    """Return a certificate that lies in a folder."""
    return FoundCertificate(folder / "certificate.json", certificate, None, "")


def test_words_in_capitals_stand_for_what_is_not_known(tmp_path: Path) -> None:
    """A certificate alone names neither folders nor keys."""
    evaluate, certify = commands_again(
        found(tmp_path, make_certificate(make_eval_report())), policy="p.toml", version="2"
    )

    assert (
        f"recert evaluate --base BASE --model MODEL --policy p.toml --output {tmp_path}/evaluation-2"
        in evaluate
    )
    assert "--context none" in evaluate
    assert "--secret" not in evaluate
    assert "--supersedes 7b1f0a5c7b1f0a5c7b1f0a5c7b1f0a5c" in certify


def test_what_was_heard_is_heard_again(tmp_path: Path) -> None:
    """A certificate by ear asks for the transcriber before both models, and certifies the models' own folders."""
    record = make_certificate(make_eval_report(), ears=make_ears())
    evaluate, certify = commands_again(found(tmp_path, record), policy="p.toml", version="2")

    assert "--base cascade:TRANSCRIBER+BASE --model cascade:TRANSCRIBER+MODEL " in evaluate
    assert "--base BASE --model MODEL " in certify


def test_what_lies_beside_is_named(tmp_path: Path) -> None:
    """The adapter, the context of the tuning data, the secret and the reports, as `recert run` leaves them."""
    (tmp_path / "tune" / "adapter").mkdir(parents=True)
    (tmp_path / "screen").mkdir()
    (tmp_path / "tune" / "secret.txt").write_text("secret")
    (tmp_path / "screen" / "screen-report.json").write_bytes(
        make_screen_report(system_prompts=("You write 'SQL'.",)).to_json()
    )
    record = make_certificate(evaluation("sql", [0.1] * 9), secret_sha256="ab" * 32)
    evaluate, certify = commands_again(
        found(tmp_path, record), policy="p.toml", version="2", suites=["harmful=a b.jsonl"]
    )
    words = shlex.split(evaluate)

    assert f"{tmp_path}/tune/adapter" == words[words.index("--model") + 1]
    assert words[words.index("--context") + 1] == "You write 'SQL'."
    assert f"{tmp_path}/tune/secret.txt" == words[words.index("--secret") + 1]
    assert words[words.index("--suite") + 1] == "harmful=a b.jsonl"
    assert f"--screen-report {tmp_path}/screen/screen-report.json" in certify
