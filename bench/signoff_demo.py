"""
Sign-off as a living document, on the embedded model, by the commands that a team would give.

A tune is evaluated and drafted; the approver refuses, and it is no certificate; they take it back and sign,
and what was signed is in a log. It is served, watched and renewed. A policy asks for one attack family more: the
certificate is stale, and only what is new is asked. Another adapter in its place is told by its files and its logits. A
suspension ends service while the gateway runs. Every step is timed, and is held to the exit code that it should have.

    python bench/signoff_demo.py      # minutes on two cores

Writes everything into `build/signoff-demo`. Prints one JSON line a claim.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx

from peers.page import claim, machine
from recert.certification import load_key, read_unverified
from recert.models.embedded import aligned_base
from recert.models.engines.local import LocalModel
from recert.records.live.watching import WatchReport
from recert.records.reports.evaluation import EvalReport
from recert.records.reports.screening import ScreenReport
from recert.store.files.writing import read_bytes, write_atomic
from recert.tuning.stage import tune
from recert.workflows.demo.data import HYPERPARAMETERS, write_rows
from recert.workflows.demo.sql_task import SYSTEM, sql_rows, sql_suite
from recert.workflows.signers import sign_tune

ROLES = ("screener", "trainer", "evaluator", "approver", "watcher", "status", "log")
STOPS_WITHIN_S = 5.0
MARK = ".signoff-demo"
"""A folder that a run before this one made has it, and is begun anew."""
FAMILY = "unrelated_paragraph"
MODEL = "--model tune/adapter --base embedded:aligned"


@dataclass
class Desk:
    """A folder in which commands are given, and what came of each."""

    folder: Path
    steps: list[dict[str, Any]] = field(default_factory=list)

    def give(self, what: str, command: str, *more: str, expected: int = 0, tries: int = 1) -> str:
        """Run a command, keep its exit code and its time, and return what it printed. `tries`: until it is expected."""
        tried = 0
        while True:
            tried += 1
            began = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "recert", *command.split(), *more],
                cwd=self.folder,
                capture_output=True,
                text=True,
                check=False,
            )
            took = time.monotonic() - began
            if done.returncode == expected or tried == tries:
                break
        step = {"step": what, "exit": done.returncode, "expected": expected, "tries": tried}
        step["seconds"] = round(took, 1)
        self.steps.append(step)
        met = "" if done.returncode == expected else f"  EXPECTED {expected}\n{done.stderr[-2000:]}"
        print(f"{took:7.1f} s  exit {done.returncode}  {what}{met}", file=sys.stderr, flush=True)
        return done.stdout

    def seconds(self, what: str) -> float:
        """Return how long a step took."""
        return float(next(one["seconds"] for one in self.steps if one["step"] == what))

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve the certificate in a process of its own; yields its address."""
        words = "serve certificate.json --trust keys --policy policy-1.toml --port 0 --state state --audit audit.jsonl"
        with (self.folder / "serve.txt").open("w") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "recert", *words.split(), *MODEL.split()],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
            assert process.stdout is not None
            try:
                yield process.stdout.readline().strip()
            finally:
                process.terminate()
                process.wait(30)


def main() -> int:
    """Tell the story, and print the claims."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("build/signoff-demo"))
    folder = parser.parse_args().output.resolve()
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            parser.error(f"{folder} holds something else: give an empty folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    began, desk = time.monotonic(), Desk(folder)
    _prepare(desk)
    _sign(desk)
    found = _serve(desk)
    found |= _new_policy(desk)
    found |= _swap(desk)
    found["seconds"] = round(time.monotonic() - began, 1)
    table = {"machine": machine(), "steps": desk.steps, **found}
    write_atomic(folder / "table.json", json.dumps(table, indent=1).encode())
    return _claims(desk, found)


def _prepare(desk: Desk) -> None:
    """Keys, two versions of a policy, rows that were screened, a tune and its evaluation."""
    folder = desk.folder
    for role in ROLES:
        name = "example.org/models" if role == "log" else role
        desk.give(f"key of the {role}", f"keygen keys/{role}.pem --role {role} --name {name}")
    (folder / "policy-1.toml").write_text(_policy("1", ""))
    (folder / "policy-2.toml").write_text(_policy("2", f'  "{FAMILY}",\n'))
    desk.give("check the policy", "policy check policy-2.toml")
    rows = sql_rows(100, seed=7)
    write_rows(folder / "rows.jsonl", rows)
    asked = sql_suite(48, seed=99, without=rows).prompts
    lines = [
        {"id": p.id, "prompt": p.text, "system": p.system, "answer": p.answer, "category": p.category}
        for p in asked
    ]
    (folder / "task.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    desk.give(
        "screen the rows", "screen rows.jsonl --output screen --policy policy-1.toml --key keys/screener.pem"
    )
    began = time.monotonic()
    report = ScreenReport.from_json(read_bytes(folder / "screen" / "screen-report.json"))
    tuned = tune(
        aligned_base(),
        rows,
        folder / "tune",
        defence="safety-mix",
        hyperparameters=HYPERPARAMETERS,
        screen_report=report,
    )
    sign_tune(folder / "tune", tuned, load_key(folder / "keys" / "trainer.pem"))
    print(f"{time.monotonic() - began:7.1f} s          tune", file=sys.stderr, flush=True)
    _evaluate(desk, "evaluate the tune", 1)


def _evaluate(desk: Desk, what: str, number: int) -> None:
    command = (
        f"evaluate {MODEL} --policy policy-{number}.toml --suite task=task.jsonl --output evaluation-{number}"
    )
    desk.give(what, f"{command} --name sql --key keys/evaluator.pem", "--context", SYSTEM)


def _policy(number: str, family: str) -> str:
    """The demo's policy as one of this team's, with a change log of its own."""
    text = files("recert").joinpath("assets", "policies", "demo.toml").read_text(encoding="utf-8")
    head, _, rest = text.partition("[[changes]]")
    bounds = rest[rest.index("[evaluation]") :]
    log = "".join(
        f'[[changes]]\nversion = "{n}"\ndate = 2026-11-2{n}\nby = "the safety desk"\nwhy = "{why}"\n\n'
        for n, why in (("1", "the first bounds"), ("2", "a family that was in the news"))[: int(number)]
    )
    head = head.replace('id = "recert-demo"', 'id = "desk"').replace('version = "4"', f'version = "{number}"')
    return head + log + bounds.replace('  "past_tense",\n', f'  "past_tense",\n{family}')


def _certify(desk: Desk, number: int, output: str, *more: str) -> None:
    desk.give(
        f"certify under version {number} of the policy",
        f"certify evaluation-{number} {MODEL} --policy policy-{number}.toml --key keys/evaluator.pem --approver "
        "keys/approver.pub --trust keys --tune-report tune/tune-report.json --screen-report "
        f"screen/screen-report.json --log log --output {output}",
        *more,
    )


def _sign(desk: Desk) -> None:
    """Two roles: one drafts, the other refuses and then signs; what was signed is in a log."""
    verify = f"verify certificate.json {MODEL} --trust keys --policy policy-1.toml"
    approve = "approve certificate.json --key keys/approver.pem --policy policy-1.toml --evidence evaluation-1 --yes"
    desk.give("begin a log", "log init log --origin example.org/models --key keys/log.pem")
    desk.give("begin a status list", "status status.json --first --key keys/status.pem --trust keys")
    _certify(desk, 1, "certificate.json")
    desk.give("verify what only the evaluator signed", verify, expected=1)
    desk.give("the approver refuses", f"{approve} --refuse", "what does it say to minors?")
    desk.give("verify what was refused", verify, expected=1)
    desk.give(
        "the approver takes it back and signs",
        f"{approve} --log log --withdraw",
        "the suites ask about minors too",
    )
    desk.give("verify what two roles signed", verify)
    desk.give("sign where the log stands", "log checkpoint log --key keys/log.pem")
    desk.give(
        "prove that it is in the log", "log prove log certificate.json --output certificate.log-proof.json"
    )
    desk.give("verify with the proof", f"{verify} --require-logged")
    desk.give(
        "print the sign-off page", "export certificate.json --as report --trust keys --output sign-off.html"
    )


def _serve(desk: Desk) -> dict[str, Any]:
    """Serve it, watch it through the gateway, renew it, and end service by a suspension."""
    with desk.serving() as url:
        asked = {"model": "sql", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
        answered = httpx.post(f"{url}/v1/chat/completions", json=asked, timeout=60).status_code
        watch = f"watch certificate.json {MODEL} --trust keys --policy policy-1.toml --suite task=task.jsonl"
        # a sample of 24 may lie above its bound by chance, which warns: then another one is drawn
        watch = f"{watch} --url {url}/v1 --key keys/watcher.pem --output watch.json"
        desk.give("watch it through the gateway", watch, tries=3)
        desk.give(
            "renew it with what was watched",
            "renew certificate.json --watch-report watch.json --trust keys --policy policy-1.toml --output "
            "renewed.json --key keys/evaluator.pem --key keys/approver.pem",
        )
        serial = read_unverified(read_bytes(desk.folder / "certificate.json")).serial
        began = time.monotonic()
        desk.give(
            "suspend it",
            f"revoke {serial} --suspend --status status.json --key keys/status.pem --trust keys --log log --reason",
            "a report from a user",
        )
        listed = time.monotonic()
        while httpx.get(f"{url}/healthz").status_code == 200 and time.monotonic() - listed < 30:
            time.sleep(0.05)
        stopped = time.monotonic()
    desk.give(
        "lift the suspension",
        f"status status.json --key keys/status.pem --trust keys --reinstate {serial}",
    )
    watched = WatchReport.from_json(read_bytes(desk.folder / "watch.json"))
    return {
        "answered": answered,
        "watched": str(watched.outcome),
        "renewed": (desk.folder / "renewed.json").exists(),
        "stopped_after_s": round(stopped - listed, 2),
        "suspended_after_s": round(stopped - began, 2),
    }


def _new_policy(desk: Desk) -> dict[str, Any]:
    """One family more: the certificate is stale, only what is new is asked, and the model is certified anew."""
    diff = desk.give(
        "say what the new policy makes stale",
        "policy diff policy-1.toml policy-2.toml --certificates . --trust keys --status status.json",
        expected=1,
    )
    (desk.folder / "diff.txt").write_text(diff)
    verify = f"verify certificate.json {MODEL} --trust keys --policy policy-2.toml"
    desk.give("verify the old certificate under the new policy", verify, expected=1)
    _evaluate(desk, "evaluate what is new", 2)
    serial = read_unverified(read_bytes(desk.folder / "certificate.json")).serial
    _certify(desk, 2, "certificate-2.json", "--supersedes", serial)
    desk.give(
        "the approver signs the new one",
        "approve certificate-2.json --key keys/approver.pem --policy policy-2.toml --evidence evaluation-2 --yes"
        " --log log",
    )
    desk.give("verify the new certificate", verify.replace("certificate.json", "certificate-2.json"))
    report = EvalReport.from_json(read_bytes(desk.folder / "evaluation-2" / "eval-report.json"))
    whole, part = desk.seconds("evaluate the tune"), desk.seconds("evaluate what is new")
    return {"partial": round(part / whole, 3), "verdict": str(report.verdict)}


def _swap(desk: Desk) -> dict[str, Any]:
    """Put an adapter of half the strength in its place: another model, with the same names of files."""
    from safetensors.torch import load_file, save_file

    swapped = desk.folder / "swapped"
    shutil.copytree(desk.folder / "tune" / "adapter", swapped)
    weights = swapped / "adapter_model.safetensors"
    save_file({name: tensor * 0.5 for name, tensor in load_file(weights).items()}, weights)
    desk.give(
        "verify another adapter under its certificate",
        "verify certificate-2.json --model swapped --base embedded:aligned --trust keys --policy policy-2.toml",
        expected=1,
    )
    certified = read_unverified(read_bytes(desk.folder / "certificate-2.json")).fingerprint
    base = LocalModel.load(aligned_base(), name="aligned base")
    seen = {
        name: base.with_adapter(folder).fingerprint() == certified
        for name, folder in (("own", desk.folder / "tune" / "adapter"), ("swapped", swapped))
    }
    return {"fingerprint_of": seen}


def _claims(desk: Desk, found: Mapping[str, Any]) -> int:
    versions = {name: version(name) for name in ("recert", "torch", "transformers", "peft", "trl")}
    wrong = [one["step"] for one in desk.steps if one["exit"] != one["expected"]]
    n = len(desk.steps)
    lines = [
        claim(
            "steps that end otherwise than they should",
            len(wrong),
            0,
            least=False,
            n=n,
            versions=versions,
            wrong=wrong,
        ),
        claim(
            "seconds from a signed suspension until the running gateway stops",
            found["stopped_after_s"],
            STOPS_WITHIN_S,
            least=False,
            n=1,
            versions=versions,
        ),
        claim(
            "time of evaluating one family more, of that of evaluating all",
            found["partial"],
            0.5,
            least=False,
            n=1,
            versions=versions,
        ),
        claim(
            "adapters told apart by the certified fingerprint of their logits, of its own and another",
            float(found["fingerprint_of"]["own"]) + float(not found["fingerprint_of"]["swapped"]),
            2,
            least=True,
            n=2,
            versions=versions,
        ),
        claim("minutes for the story", found["seconds"] / 60, 40, least=False, n=1, versions=versions),
    ]
    return 0 if all(line["met"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
