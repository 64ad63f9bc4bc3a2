"""The command line: 0 is yes, 1 is no, 2 is no answer; data on stdout, talk on stderr."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import recert

pytestmark = pytest.mark.slow

ROWS = [
    ("How long does a loaf bake?", "About forty minutes in a hot oven."),
    ("What does hydration mean for dough?", "The weight of the water over the weight of the flour."),
    ("Why does bread need salt?", "It slows the yeast and gives taste."),
]


def run(*arguments: object, folder: Path | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run `recert` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "recert", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **changes},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def write_rows(path: Path) -> Path:
    """Write harmless chat rows."""
    lines = [
        json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]})
        for q, a in ROWS
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_version_is_the_packages() -> None:
    """`recert --version` prints the version on stdout."""
    done = run("--version")

    assert (done.returncode, done.stdout) == (0, f"recert {recert.__version__}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_an_answer_that_nobody_could_read_is_none() -> None:
    """With no room for the answer it exits 2; with stdout closed by whoever wants the exit code alone, it says that."""
    command = f"{shlex.quote(sys.executable)} -m recert policy show"
    full = subprocess.run(f"{command} > /dev/full", shell=True, capture_output=True, text=True, check=False)
    closed = subprocess.run(f"{command} >&-", shell=True, capture_output=True, text=True, check=False)

    assert (full.returncode, "Traceback" in full.stderr) == (2, False)
    assert (closed.returncode, closed.stderr) == (0, "")


def test_a_defect_is_no_answer(tmp_path: Path) -> None:
    """What nobody foresaw exits 2 with its traceback, and never 1, which would be a no."""
    (tmp_path / "sitecustomize.py").write_text(
        "import recert.policy\n\ndef load(*_):\n    raise ZeroDivisionError\n\nrecert.policy.load_policy = load\n"
    )
    done = run("policy", "show", PYTHONPATH=str(tmp_path))

    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert "defect of Recert" in done.stderr


@pytest.mark.parametrize("arguments", [("no-such-command",), ("verify",), ("verify", "--no-such-option")])
def test_a_command_that_is_not_understood_is_no_answer(arguments: tuple[str, ...]) -> None:
    """A typing mistake exits 2 and says nothing on stdout."""
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_an_error_has_message_facts_and_hint() -> None:
    """An error is one line of what, the facts, and a hint; never a traceback."""
    done = run("policy", "check", "no-such-policy")

    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: cannot read the policy"
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_is_the_record_itself(tmp_path: Path) -> None:
    """`--json` prints the record on stdout, and only that."""
    rows = write_rows(tmp_path / "rows.jsonl")
    done = run("screen", rows, "--output", tmp_path / "out", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "screen-report.json").read_text())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no rows"),
        ("not json\n", "malformed"),
        ('{"messages": []}\n', "malformed"),
        (None, "cannot read"),
    ],
)
def test_rows_that_cannot_be_read_are_no_answer(tmp_path: Path, content: str | None, said: str) -> None:
    """Empty, malformed and missing files exit 2, and leave nothing that looks like an output."""
    if content is not None:
        (tmp_path / "rows.jsonl").write_text(content)
    done = run("screen", tmp_path / "rows.jsonl", "--output", tmp_path / "out")

    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--model", "no-such-model"), ("--trust", "no-such-keys"), ("--base", "no-such-base")],
)
def test_whatever_verification_needs_and_lacks_is_no_yes(tmp_path: Path, option: str, value: str) -> None:
    """A missing model, base or key folder is named, and the exit code is not 0."""
    (tmp_path / "certificate.json").write_text("{}")
    for name in ("model", "keys", "base"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    given = {"--model": "model", "--trust": "keys", "--base": "base", option: value}
    done = run("verify", "certificate.json", *(x for pair in given.items() for x in pair), folder=tmp_path)

    assert done.returncode != 0
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_keygen_knows_its_roles(tmp_path: Path) -> None:
    """A role that nothing asks for is refused with those that are known, unless it is said to be a policy's own."""
    key = tmp_path / "king.pem"
    refused = run("keygen", key, "--role", "king")
    left = list(tmp_path.iterdir())
    made = run("keygen", key, "--role", "king", "--custom-role")
    key.with_suffix(".pub").unlink()
    again = run("keygen", key, "--role", "watcher")

    assert (refused.returncode, refused.stdout, left) == (2, "", [])
    assert "screener, trainer, watcher, audit" in refused.stderr
    assert "--custom-role" in refused.stderr
    assert (made.returncode, made.stdout.split()[1]) == (0, "king")
    assert (again.returncode, again.stdout.split()[0]) == (0, made.stdout.split()[0])
    assert "finishing the key" in again.stderr


def test_a_key_is_never_overwritten_nor_read_when_open(tmp_path: Path) -> None:
    """`keygen` refuses to write over a key; a key that others can read is refused."""
    key = tmp_path / "status.pem"
    first = run("keygen", key, "--role", "status")
    again = run("keygen", key, "--role", "status")
    key.chmod(0o644)
    opened = run("status", tmp_path / "status.json", "--first", "--key", key, "--trust", tmp_path)

    assert (first.returncode, again.returncode, opened.returncode) == (0, 2, 2)
    assert "chmod 600" in opened.stderr
    assert not (tmp_path / "status.json").exists()


def test_a_status_list_is_not_begun_twice(tmp_path: Path) -> None:
    """`--first` over a list that is there would forget its revocations: refused."""
    key = tmp_path / "keys" / "status.pem"
    run("keygen", key, "--role", "status")
    arguments = ("status", tmp_path / "status.json", "--key", key, "--trust", tmp_path / "keys")
    codes = [run(*arguments, *extra).returncode for extra in ((), ("--first",), ("--first",), ())]

    assert codes == [2, 0, 2, 0]


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    """`recert policy show | head -1` ends quietly."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m recert policy show | head -c 1"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
