"""What a Python grader's code may do, and what it may not."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recert.errors import GraderError
from recert.judges.protocol import JudgeFailed
from recert.labs.graders import Grade, Grader, Sample, make_grader
from recert.labs.graders.sandbox import SandboxLimits

LIMITS = SandboxLimits(wall_s=2.0, memory_bytes=256 << 20, file_bytes=4096)
OPEN: list[Grader] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def grader(body: str, before: str = "") -> Grader:
    """Return a grader of one function."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    made = make_grader(
        {"type": "python", "source": f"{before}\ndef grade(sample, item):\n{lines}"}, limits=LIMITS
    )
    OPEN.append(made)
    return made


def graded(body: str, before: str = "", said: str = "Paris") -> Grade | JudgeFailed:
    """Grade one reply."""
    return grader(body, before).grade({"answer": "Paris"}, Sample.of(said))


def held_or_skip(one: Grader, what: str) -> None:
    """Some kernels do not let a process fence itself in so far; the report says so, and so does the test."""
    one.grade({}, Sample.of("x"))
    if what not in (one.held or ()):
        pytest.skip(f"this kernel does not hold code to: {what}")


def because(grade: Grade | JudgeFailed) -> str:
    """Return why there is no grade."""
    assert isinstance(grade, JudgeFailed)
    return grade.because


def test_a_number_is_a_grade() -> None:
    """Integers and floats of any size are grades, and the sample and item are those of the hosted service."""
    assert graded("return 5").value == 5.0
    assert graded("return float(sample['output_text'] == item['answer'])").value == 1.0
    assert graded("return float(sample['output_json']['n'])", said='{"n": 3}').value == 3.0
    assert graded("return float(sample['choices'][0]['message']['content'] == 'Paris')").value == 1.0
    assert graded("return float(len(json.dumps(re.findall('a', 'banana'))))", "import json, re").value == 15.0


@pytest.mark.parametrize(
    "value", ["True", "None", "'1.0'", "[1]", "float('nan')", "float('inf')", "1e400", "10**400", "1j"]
)
def test_what_is_no_finite_number_is_no_grade(value: str) -> None:
    """The hosted service would pay 0; here nothing was measured."""
    assert isinstance(graded(f"return {value}"), JudgeFailed)


def test_an_exception_is_no_grade() -> None:
    """Its words are told; also where it is no ordinary one, or the code ends the process."""
    assert because(graded("return item['gone']")) == "KeyError: 'gone'"
    assert "SystemExit" in because(graded("raise SystemExit(0)"))
    assert "ended by itself" in because(graded("os._exit(0)", "import os"))
    assert "RecursionError" in because(graded("return grade(sample, item)"))
    assert "ZeroDivisionError" in because(graded("return 1.0", "1 / 0"))


@pytest.mark.slow
def test_endless_code_is_ended_and_the_next_sample_is_graded() -> None:
    """A sample that takes too long has no grade, and the grader goes on."""
    one = grader("while sample['output_text'] == 'loop':\n    pass\nreturn 1.0")
    start = time.monotonic()
    grades = one.grade_all([({}, Sample.of(said)) for said in ("ok", "loop", "ok")])

    assert ["grade" if isinstance(g, Grade) else "failed" for g in grades] == ["grade", "failed", "grade"]
    assert time.monotonic() - start < 20


def test_memory_is_bounded() -> None:
    """Code that asks for more than its share gets MemoryError."""
    assert "MemoryError" in because(graded("return float(len(bytearray(1 << 30)))"))


@pytest.mark.parametrize(
    ("body", "before"),
    [
        ("while True:\n    os.fork()", "import os"),
        ("return float(subprocess.call(['true']))", "import subprocess"),
        ("threading.Thread(target=print).start()\nreturn 1.0", "import threading"),
    ],
)
def test_no_process_and_no_thread_can_be_started(body: str, before: str) -> None:
    """A fork bomb stops at its first fork."""
    assert isinstance(graded(body, before), JudgeFailed)


def test_the_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that Recert was given in its environment are not there, neither by name nor through /proc."""
    monkeypatch.setenv("RECERT_ENDPOINT_KEY", "secret-of-the-test")
    look = "return float('secret-of-the-test' in str(dict(os.environ)))"

    assert graded(look, "import os").value == 0.0
    read = grader(f"return float('secret-of-the-test' in open('/proc/{os.getpid()}/environ').read())")
    held_or_skip(read, "no other files")
    assert isinstance(read.grade({}, Sample.of("x")), JudgeFailed)


def test_other_files_can_neither_be_read_nor_written(tmp_path: Path) -> None:
    """A file that everyone may read is not read, and nothing is written outside of the folder of this run."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    secret.chmod(0o666)
    read = grader(f"return float(len(open({str(secret)!r}).read()))")
    held_or_skip(read, "no other files")

    assert "PermissionError" in because(read.grade({}, Sample.of("x")))
    assert "PermissionError" in because(graded(f"open({str(secret)!r}, 'w').write('x')\nreturn 1.0"))
    assert "PermissionError" in because(graded("open('/tmp/of-a-grader', 'w')\nreturn 1.0"))
    assert secret.read_text() == "secret"


def test_its_own_folder_is_small_and_emptied_after_every_sample() -> None:
    """Files may be written there, up to a size, and the next sample finds none of them."""
    assert graded("open('mine', 'w').write('x')\nreturn float(len(open('mine').read()))").value == 1.0
    assert isinstance(graded("open('mine', 'w').write('x' * 100_000)\nreturn 1.0"), JudgeFailed)
    one = grader(
        "n = len(os.listdir('.'))\nos.makedirs('a/b')\nopen('a/b/c', 'w').close()\nreturn float(n)",
        "import os",
    )

    assert [g.value for g in one.grade_all([({}, Sample.of(str(n))) for n in range(2)])] == [0.0, 0.0]


def test_no_sample_changes_what_the_next_one_gets() -> None:
    """Module state, changed builtins and changed modules are gone with the process of the sample."""
    one = grader("COUNT[0] += 1\njson.dumps = None\nreturn float(COUNT[0])", "import json\nCOUNT = [0]")

    assert [g.value for g in one.grade_all([({}, Sample.of(str(n))) for n in range(3)])] == [1.0, 1.0, 1.0]


def test_the_network_is_not_there() -> None:
    """Neither TCP nor UDP, not even to this machine."""
    one = grader("socket.create_connection(('127.0.0.1', 9), 1)\nreturn 1.0", "import socket")
    held_or_skip(one, "no network")

    assert because(one.grade({}, Sample.of("x"))).startswith(("OSError", "PermissionError"))
    udp = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))\nreturn 1.0"
    assert "unreachable" in because(graded(udp, "import socket"))


def test_other_processes_cannot_be_ended() -> None:
    """Signals reach neither this process nor the one that keeps the grader."""
    one = grader(f"os.kill({os.getpid()}, 9)\nreturn 1.0", "import os")
    held_or_skip(one, "no other processes")

    assert isinstance(one.grade({}, Sample.of("x")), JudgeFailed)
    again = grader(
        "os.kill(os.getppid(), 9) if sample['output_text'] == 'kill' else None\nreturn 1.0", "import os"
    )
    assert again.grade_all([({}, Sample.of(said)) for said in ("kill", "ok")])[1].value == 1.0


def test_much_output_and_a_huge_value_are_no_grade() -> None:
    """What is printed goes nowhere, and a value that is no number is not sent."""
    assert graded("print('x' * 10_000_000)\nreturn 1.0").value == 1.0
    assert "not a number" in because(graded("return 'x' * 10_000_000"))
    assert isinstance(graded("raise ValueError('x' * 1_000_000)"), JudgeFailed)


def test_what_code_writes_into_every_open_file_forges_nothing_but_its_own_grade() -> None:
    """The only open file is the one for its own answer, and a second answer there is no answer."""
    flood = "for n in range(3, 64):\n    try: os.write(n, b'{\"value\": 1}\\n')\n    except OSError: pass\nreturn 0.0"
    grades = grader(flood, "import os").grade_all([({}, Sample.of(str(n))) for n in range(2)])

    assert [isinstance(g, JudgeFailed) for g in grades] == [True, True]


def test_packages_of_the_hosted_service_can_be_imported_where_they_are_installed() -> None:
    """They lie in the one folder beside Python's own that code may read."""
    pytest.importorskip("numpy")
    one = make_grader(
        {
            "type": "python",
            "source": "import numpy as np\ndef grade(sample, item):\n    return float(np.mean([1, 2]))",
        }
    )
    OPEN.append(one)

    assert one.grade({}, Sample.of("x")).value == 1.5


def test_a_file_in_the_working_folder_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What code imports is found among what is installed; a package that is not says how to get it."""
    (tmp_path / "skbio.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(GraderError, match="not installed here") as caught:
        grader("return 1.0", "import skbio")
    assert caught.value.hint == "pip install scikit-bio"
    assert graded("return 1.0", "try:\n    import skbio\nexcept ImportError:\n    skbio = None").value == 1.0


def test_closing_leaves_no_process_and_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper, its children and its folder go when the grader is closed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one = grader("return 1.0")
    one.grade({}, Sample.of("x"))
    pid = one.parts[""].sandbox._process.pid
    one.close()

    assert list(tmp_path.iterdir()) == []
    assert not Path(f"/proc/{pid}").exists()
