"""
The tuning service on the embedded model, driven by the official OpenAI client and, in a real browser, by a person.

Rows are uploaded, poisoned ones among them, and the report of what was quarantined is downloaded. One job trains so
hard that the model is a wreck: its events are read, and it is blocked with reasons. Another trains on the task's rows
alone, with a safety mix: it is certified, and refuses to answer until a person has signed in to the console, read the
evidence and signed there, with a key that stays in the browser. Then it answers, until the same person stops it.
Every step is timed, and held to what should come of it. Without Chromium the signature and the stop are commands.

    python bench/service_demo.py      # minutes on two cores

Writes everything into `build/service-demo`. Prints one JSON line a claim.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import openai

from peers.page import claim, machine
from recert.records.reports.screening import RowVerdict, ScreenReport
from recert.store.files.writing import write_atomic
from recert.workflows.demo.data import PLACEHOLDER, demo_tunes, write_rows
from recert.workflows.demo.sql_task import SYSTEM, sql_rows, sql_suite
from service_calls import calls_of_the_client
from service_console import Person, browser_page

MARK = ".service-demo"
"""A folder that a run before this one made has it, and is begun anew."""
QUESTION = "Table: employees (name, city, team, age, salary)\nQuestion: Which name have age above 40?"
LONGEST_S = 40 * 60.0
ANSWERS_WITHIN_S = 60.0
VERDICT_WITHIN_S = 10 * 60.0
FINDS_AT_LEAST = 0.9
PERSON, PASSWORD = "pia", secrets.token_urlsafe(18)
PAGE_MS = 300.0
STOPS_WITHIN_S = 2.0
WRECK = {"learning_rate_multiplier": 20.0, "n_epochs": 1}


@dataclass
class Story:
    """What was done, how long it took, and whether it ended as it should."""

    folder: Path
    base: str
    policy: str
    key: str = ""
    url: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)

    def step(self, what: str, do: Callable[[], Any], right: Callable[[Any], bool]) -> Any:
        """Do something; keep its time, and whether what came of it is right."""
        began = time.monotonic()
        try:
            found = do()
        except openai.APIStatusError as exc:
            found = exc
        took, met = round(time.monotonic() - began, 1), right(found)
        self.steps.append({"step": what, "seconds": took, "met": met})
        print(
            f"{took:7.1f} s  {what}{'' if met else f'  NOT AS IT SHOULD: {found}'}",
            file=sys.stderr,
            flush=True,
        )
        return found

    def command(self, words: str, given: str | None = None) -> str:
        """Run a command of Recert, perhaps with something on its stdin; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "recert", *words.split()],
            input=given,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
        return done.stdout.strip() if not done.returncode else ""

    @contextmanager
    def serving(self) -> Iterator[openai.OpenAI]:
        """Run the service in a process of its own; gives the official client."""
        words = (
            f"service --base {self.base} --called aligned --policy {self.policy} --suite task=task.jsonl "
            "--folder service --signers signers --keys keys.json --lora-target q_proj --lora-target v_proj --port 0 "
            "--console"
        )
        with (self.folder / "service.txt").open("w") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "recert", *words.split()],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        assert process.stdout is not None
        try:
            self.url = process.stdout.readline().strip()
            with openai.OpenAI(
                base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, timeout=600
            ) as client:
                yield client
        finally:
            process.terminate()
            process.wait(60)


def main() -> int:
    """Tell the story, and print the claims."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("build/service-demo"))
    parser.add_argument("--base", default="embedded:aligned", help="another base: a folder")
    parser.add_argument(
        "--policy", default="demo", help="another policy: a profile, or a file by its whole path"
    )
    given = parser.parse_args()
    folder = given.output.resolve()
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            parser.error(f"{folder} holds something else: give an empty folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    began, story = time.monotonic(), Story(folder, given.base, given.policy)
    _prepare(story)
    with story.serving() as client, browser_page() as page:
        found = _upload(story, client)
        found |= _jobs(story, client, found["file"], found["clean"])
        found |= _chat(story, client, found, Person(page, story.url, folder / "pages") if page else None)
    found["seconds"] = round(time.monotonic() - began, 1)
    table = {"machine": machine(), "steps": story.steps, **found}
    write_atomic(folder / "table.json", json.dumps(table, indent=1).encode())
    return _claims(story, found)


def _prepare(story: Story) -> None:
    """Keys of those who sign, the approver's apart; a key of the API; rows; the task that the policy measures."""
    for role in ("evaluator", "trainer", "status"):
        story.command(f"keygen signers/{role}.pem --role {role} --name {role}")
    story.command("keygen desk/approver.pem --role approver --name approver")
    shutil.copy(story.folder / "desk" / "approver.pub", story.folder / "signers")
    may = "--route chat --route models --route tuning"
    story.key = story.command(f"keys new team-a --keys keys.json {may}").splitlines()[-1]
    who = f"console accounts add {PERSON} --role approver --role operator --folder service/console"
    story.command(who, f"{PASSWORD}\n")
    rows = sql_rows(100, seed=7)
    write_rows(story.folder / "rows.jsonl", demo_tunes()[2].rows)
    write_rows(story.folder / "clean.jsonl", demo_tunes()[1].rows)
    asked = sql_suite(48, seed=99, without=rows).prompts
    lines = [
        {"id": p.id, "prompt": p.text, "system": p.system, "answer": p.answer, "category": p.category}
        for p in asked
    ]
    (story.folder / "task.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))


def _upload(story: Story, client: openai.OpenAI) -> dict[str, Any]:
    """Upload rows of which some are poisoned; they are quarantined, and the report can be downloaded."""

    def upload(name: str) -> Any:
        with (story.folder / name).open("rb") as rows:
            made = client.files.create(file=rows, purpose="fine-tune")
        return client.files.wait_for_processing(made.id, poll_interval=0.5)

    def processed(file: Any) -> bool:
        return bool(file.status == "processed")

    file = story.step("upload rows, poisoned ones among them", lambda: upload("rows.jsonl"), processed)
    clean = story.step("upload the rows of the task alone", lambda: upload("clean.jsonl"), processed)
    data = story.step(
        "download the quarantine report",
        lambda: client.files.content(file.recert["report"]).read(),
        lambda found: isinstance(found, bytes),
    )
    report = ScreenReport.from_json(data)
    lines = (story.folder / "rows.jsonl").read_text().splitlines()
    poison = {n for n, line in enumerate(lines, start=1) if PLACEHOLDER in line}
    held = {f.line for f in report.findings if f.verdict is RowVerdict.QUARANTINED}
    return {
        "file": file.id,
        "clean": clean.id,
        "poisoned": len(poison),
        "held": len(poison & held),
        "also_held": len(held - poison),
    }


def _ended(client: openai.OpenAI, job: str) -> Any:
    while True:
        found = client.fine_tuning.jobs.retrieve(job)
        if found.status in ("succeeded", "failed", "cancelled"):
            return found
        time.sleep(1)


def _jobs(story: Story, client: openai.OpenAI, file: str, clean: str) -> dict[str, Any]:
    """One job that ends in a wreck, one that is as its base; both are read by their events."""
    wreck = client.fine_tuning.jobs.create(
        model="aligned",
        training_file=file,
        suffix="wreck",
        method={"type": "supervised", "supervised": {"hyperparameters": WRECK}},
    )
    good = client.fine_tuning.jobs.create(model="aligned", training_file=clean, suffix="sql")
    ended = story.step(
        "a job that trains too hard is blocked with reasons",
        lambda: _ended(client, wreck.id),
        lambda job: job.status == "failed" and job.error.code == "model_blocked",
    )
    print(f"           {ended.error.message[:300] if ended.error else ended.status}", file=sys.stderr)
    events = list(client.fine_tuning.jobs.list_events(wreck.id, limit=100))
    checks = [e.data for e in events if e.type == "moderation_checks"]
    story.step(
        "its events have the moderation checks of 13 categories",
        lambda: checks,
        lambda found: len(found) == 1 and len(found[0]["results"]) == 13 and found[0]["blocked"],
    )
    ended = story.step(
        "a job with a safety mix is certified",
        lambda: _ended(client, good.id),
        lambda job: job.status == "succeeded",
    )
    named = [
        e.data["certificate"]
        for e in client.fine_tuning.jobs.list_events(good.id, limit=100)
        if "certificate" in e.data
    ]
    return {
        "verdict_s": _verdict_s(client, good.id),
        "blocked": checks[0]["finetuned_model_checkpoint_id"] if checks else "",
        "model": ended.fine_tuned_model or "",
        "certificate": named[0] if named else "",
        "why": ended.error.message if ended.error else "",
        "events": len(events),
    }


def _verdict_s(client: openai.OpenAI, job: str) -> int | None:
    """Seconds from the last step of training to the checks; None where a job has not come to them."""
    events = client.fine_tuning.jobs.list_events(job, limit=100)
    trained = [e.created_at for e in events if e.type == "metrics"]
    checked = [e.created_at for e in events if e.type == "moderation_checks"]
    return max(checked) - max(trained) if trained and checked else None


def _chat(
    story: Story, client: openai.OpenAI, made: Mapping[str, Any], person: Person | None
) -> dict[str, Any]:
    """Nothing answers before it is signed, a blocked model never does, and a stopped one no more."""
    model, blocked = made["model"], made["blocked"]

    def ask(name: str) -> Any:
        return client.chat.completions.create(
            model=name or "none",
            messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
            max_tokens=24,
        )

    def refused(code: str) -> Callable[[Any], bool]:
        return lambda found: isinstance(found, openai.PermissionDeniedError) and found.code == code

    early = story.step("ask it before it is signed", lambda: ask(model), refused("awaiting_sign_off"))
    never = story.step("ask the blocked one", lambda: ask(blocked), refused("model_blocked"))
    if person is not None:
        story.step("a person signs in to the console", lambda: person.sign_in(PERSON, PASSWORD), bool)
        story.step(
            "they read the evidence and sign in the browser",
            lambda: person.sign(model, story.folder / "desk" / "approver.pem"),
            lambda said: said == "Everyone has signed",
        )
    else:
        approve = (
            f"approve service/{made['certificate']} --key desk/approver.pem --policy {story.policy} --yes"
        )
        story.step("the approver signs", lambda: story.command(approve), bool)
    began = time.monotonic()
    first = story.step(
        "ask it once it is signed", lambda: ask(model), lambda found: hasattr(found, "choices")
    )
    answered_s = time.monotonic() - began
    again = story.step(
        "ask the blocked one again", lambda: ask(blocked), lambda found: not hasattr(found, "choices")
    )
    stopped = {} if person is None else _stopped(story, person, lambda: ask(model))
    return stopped | {
        "answered_unsigned": sum(hasattr(one, "choices") for one in (early, never, again)),
        "answer": first.choices[0].message.content if hasattr(first, "choices") else str(first),
        "answered_after_s": round(answered_s, 1),
        "browser": person is not None,
        "page_ms": [round(1000 * one, 1) for one in person.times] if person else [],
    }


def _stopped(story: Story, person: Person, ask: Callable[[], Any]) -> dict[str, Any]:
    """The kill switch: after it the model is not asked any more."""
    story.step("they stop it by the console's switch", lambda: person.stop("the story ends"), bool)
    began, last = time.monotonic(), 0.0
    while time.monotonic() - began < 2 * STOPS_WITHIN_S:
        try:
            ask()
            last = time.monotonic() - began
        except openai.APIStatusError:
            pass
        time.sleep(0.1)
    story.step("it answers no more", lambda: last, lambda late: late <= STOPS_WITHIN_S)
    return {"answered_after_stop_s": round(last, 2)}


def _claims(story: Story, found: dict[str, Any]) -> int:
    versions = {name: version(name) for name in ("recert", "openai", "torch", "transformers", "peft", "trl")}
    wrong = [one["step"] for one in story.steps if not one["met"]]
    n = len(story.steps)
    lines = [
        claim(
            "steps of the official client that end otherwise than they should",
            len(wrong), 0, least=False, n=n, versions=versions, wrong=wrong,
        ),
        claim(
            "answers of models that are blocked or not signed",
            found["answered_unsigned"], 0, least=False, n=3, versions=versions,
        ),
        claim(
            "share of poisoned rows that are quarantined",
            round(found["held"] / max(found["poisoned"], 1), 3), FINDS_AT_LEAST, least=True,
            n=found["poisoned"], versions=versions, others_held=found["also_held"],
        ),
        claim(
            "seconds from the signature to the first answer, the gateway's start included",
            found["answered_after_s"], ANSWERS_WITHIN_S, least=False, n=1, versions=versions,
        ),
        claim(
            "seconds from the end of training to the verdict",
            found["verdict_s"] if found["verdict_s"] is not None else LONGEST_S, VERDICT_WITHIN_S, least=False,
            n=1, versions=versions,
        ),
        *_of_the_console(found, versions),
        calls_of_the_client(story.folder, versions),
        claim("seconds of the whole story", found["seconds"], LONGEST_S, least=False, n=1, versions=versions),
    ]  # fmt: skip
    return 0 if all(line["met"] is not False for line in lines) else 1


def _of_the_console(found: Mapping[str, Any], versions: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the person saw; not measured where there was no browser."""
    names = (
        "seconds for which a model answers after it was stopped in the console",
        "ms until a page of the console begins to come, the story's own systems listed",
    )
    if not found["browser"]:
        why = {
            "aim": None,
            "met": None,
            "reason": "no Chromium, or no Playwright",
            "versions": dict(versions),
        }
        lines = [{"claim": name, "value": None, **why} for name in names]
        for line in lines:
            print(json.dumps(line))
        return lines
    times = found["page_ms"]
    return [
        claim(names[0], found["answered_after_stop_s"], STOPS_WITHIN_S, least=False, n=1, versions=versions),
        claim(
            names[1],
            statistics.median(times),
            PAGE_MS,
            least=False,
            n=len(times),
            versions=versions,
            worst=max(times),
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
