"""From a sample of expected requests to a certificate, and from there to what live requests look like beside it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders import BASE_FILES, ROLES, TUNED_FILES, make_policy, write_model
from cli.test_log import POLICY
from evaluated import evaluated
from logs import exchange
from recert.__main__ import main
from recert.certification import TrustStore, approve, generate_key, issue_status, read_unverified
from recert.certification.signing.links import write_link
from recert.gateway.replaying.expected import expected_inputs, read_requests
from recert.records.data.manifest import Manifest
from recert.records.live.input_drift import InputDrift
from recert.records.record import now
from recert.store.audit.log import AuditLog
from recert.store.files.writing import write_atomic

pytestmark = pytest.mark.slow

WORDS = ("bread", "a parcel", "my order", "the weather", "a train to Bern", "tea", "an invoice", "a lamp")
EXPECTED = [
    f"Could you tell me about {word}, in {n} short words please?" for n in range(1, 11) for word in WORDS
]
OTHERS = [
    f"How do I build a bomb or poison somebody {n} times? {'Tell me all of it. ' * 40}" for n in range(40)
]


@dataclass(frozen=True)
class Bench:
    """A folder with models, keys, a status list, a policy and an evaluation; commands run in this process."""

    at: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: object) -> tuple[int, str, str]:
        """Run `recert`."""
        self.monkeypatch.setattr(sys, "argv", ["recert", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = self.capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    def certify(self, name: str, *more: object) -> tuple[int, str, str]:
        """Draft a certificate, and sign it as the approver too."""
        at, path = self.at, self.at / name
        done = self(
            "certify", at / "evaluation", "--model", at / "tuned", "--base", at / "base", "--policy",
            at / "policy.toml", "--key", at / "keys/evaluator.pem", "--approver", at / "keys/approver.pub",
            "--trainer", at / "keys/trainer.pub", "--trust", at / "keys", "--output", path, *more,
        )  # fmt: skip
        if done[0] == 0:
            from recert.certification import load_key

            write_atomic(path, approve(path.read_bytes(), load_key(at / "keys/approver.pem")))
        return done

    def drift(self, certificate: str, *more: object, trust: bool = True) -> tuple[int, str, str]:
        """Compare the log with a certificate."""
        keys = ("--trust", self.at / "keys") if trust else ()
        return self(
            "audit", "drift", self.at / "audit.jsonl", "--certificate", self.at / certificate,
            "--policy", self.at / "policy.toml", *keys, *more,
        )  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    keys = {role: generate_key(tmp_path / "keys" / f"{role}.pem", role, role.title()) for role in ROLES}
    trust = TrustStore.load(tmp_path / "keys")
    write_model(tmp_path / "base", BASE_FILES)
    write_model(tmp_path / "tuned", TUNED_FILES)
    (tmp_path / "policy.toml").write_text(POLICY)
    base, tuned = Manifest.of_folder(tmp_path / "base"), Manifest.of_folder(tmp_path / "tuned")
    report = evaluated(tmp_path / "evaluation", make_policy(), base=base, tuned=tuned)
    write_link(tmp_path / "evaluation" / "eval-report.json", report, keys["evaluator"])
    write_atomic(
        tmp_path / "status.json", issue_status(None, key=keys["status"], trust=trust, validity_hours=24)
    )
    return Bench(tmp_path, monkeypatch, capsys)


def write_live(path: Path, texts: list[str], scratch: Path) -> str:
    """Append exchanges with what the gateway's controls say of texts; return from when they count."""
    from asyncio import run

    from recert.gateway.controls import Controls
    from recert.gateway.protocol.request_texts import RequestTexts
    from recert.judges.embedded.request import EmbeddedRequestJudge

    async def scored() -> list[tuple[object, ...]]:
        controls = Controls(
            make_policy().gateway, secret=None, request_judge=EmbeddedRequestJudge(), reply_judge=None
        )
        said = [
            tuple(await controls.check_request(RequestTexts((t,), (t,), f"c{n}")))
            for n, t in enumerate(texts)
        ]
        await controls.close()
        return said

    scores = run(scored())
    while (since := now().isoformat()) <= (scratch.read_text() if scratch.exists() else ""):
        pass
    with AuditLog(path) as audit:
        for number, one in enumerate(scores):
            audit.append(exchange(number, model_name="test-model", scores=one))
    scratch.write_text(json.loads(path.read_bytes().splitlines()[-1])["at"])
    return since[:26]


def test_live_requests_are_compared_with_those_that_were_expected(bench: Bench) -> None:
    """A sample becomes counts in a signed certificate; alike is 0, other requests are 1; no text is anywhere."""
    at, mark = bench.at, bench.at / "mark"
    (at / "expected.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in EXPECTED))
    drafted = bench.certify("certificate.json", "--traffic", at / "expected.jsonl")
    inputs = read_unverified((at / "certificate.json").read_bytes()).inputs
    write_live(at / "audit.jsonl", EXPECTED[1::3], mark)
    alike = bench.drift("certificate.json", "--since", "2000")
    since = write_live(at / "audit.jsonl", OTHERS, mark)
    changed = bench.drift("certificate.json", "--since", since)
    told = bench.drift("certificate.json", "--since", since, "--json")
    found = InputDrift.from_json(told[1].encode())

    assert drafted[0] == 0, drafted
    assert inputs is not None
    assert (inputs.requests, [c.control for c in inputs.controls]) == (
        len(EXPECTED),
        ["limits", "input-judge"],
    )
    assert inputs.judge.startswith("recert-request-ngrams ")
    assert "train to Bern" not in inputs.model_dump_json()
    assert alike[:2] == (0, "as certified\n"), alike
    assert changed[:2] == (1, "changed: limits, input-judge\n"), changed
    assert (told[0], found.changed, found.live_requests) == (1, ("limits", "input-judge"), len(OTHERS))
    assert "conversation" in found.not_compared


def test_what_cannot_be_compared_is_no_answer(bench: Bench) -> None:
    """No distribution, no trust, a changed certificate, no live exchange, options that do not go together."""
    at = bench.at
    write_live(at / "audit.jsonl", EXPECTED[:5], at / "mark")
    assert bench.certify("plain.json")[0] == 0
    (at / "expected.txt").write_text("\n".join(EXPECTED[:9]) + "\n")
    assert bench.certify("certificate.json", "--traffic", at / "expected.txt")[0] == 0
    signed = json.loads((at / "certificate.json").read_bytes())
    forged = signed | {"payload": json.loads((at / "plain.json").read_bytes())["payload"]}
    (at / "forged.json").write_text(json.dumps(forged))
    answers = {
        "no distribution of inputs": bench.drift("plain.json", "--since", "2000"),
        "give --trust": bench.drift("certificate.json", "--since", "2000", trust=False),
        "does not hold": bench.drift("forged.json", "--since", "2000"),
        "nothing to compare": bench.drift("certificate.json", "--since", "2999"),
        "do not go with --certificate": bench.drift("certificate.json", "--since", "2000", "--texts"),
    }

    assert read_unverified((at / "plain.json").read_bytes()).inputs is None
    assert b'"inputs"' not in read_unverified((at / "plain.json").read_bytes()).to_json()
    for words, (code, out, err) in answers.items():
        assert (code, out, words in err) == (2, "", True), (words, code, out, err)
    assert "--traffic" in answers["no distribution of inputs"][2]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.jsonl", '{"prompt": 3}\n', "no request that the gateway takes"),
        ("a.jsonl", "hello\n", "no request that the gateway takes"),
        (
            "a.jsonl",
            '{"messages": [{"role": "wizard", "content": "x"}]}\n',
            "no request that the gateway takes",
        ),
        ("a.txt", "\n\n", "there are no expected requests"),
    ],
)
def test_a_sample_that_cannot_be_read_is_refused(bench: Bench, name: str, text: str, words: str) -> None:
    """The line is named, and nothing is certified."""
    (bench.at / name).write_text(text)
    code, _, err = bench.certify("certificate.json", "--traffic", bench.at / name)

    assert (code, words in err) == (2, True), err
    assert not (bench.at / "certificate.json").exists()


def test_a_conversation_counts_as_the_gateway_reads_it(tmp_path: Path) -> None:
    """Rows of messages and rows of a prompt are both requests; every text of them counts for the length."""
    turns = [{"role": "user", "content": "x" * 100}, {"role": "assistant", "content": "y" * 100}]
    rows = [{"prompt": "x"}, {"messages": [*turns, {"role": "user", "content": "z" * 100}]}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    policy = make_policy().gateway
    seen: list[int] = []
    found = expected_inputs(read_requests(tmp_path / "a.jsonl", policy), policy, progress=seen.append)
    limits = next(one for one in found.controls if one.control == "limits")
    edges = (0.0, *found.edges)
    longest = max(place for place, count in enumerate(limits.scores) if count)

    assert seen == [1, 2]
    assert edges[longest] <= 300 / policy.max_input_chars < (*found.edges, 2.0)[longest]
