"""What is asked of a set-up: whether a certificate is issued, holds, is renewed, logged, or is served."""

from __future__ import annotations

from recert.policy import Policy
from red_team_cases.attacks import Answer, Way
from red_team_cases.desks import Desk


def _nothing(desk: Desk) -> None:
    """Nothing is needed."""


def policy_words(desk: Desk) -> str:
    own = desk.folder / "policy.toml"
    return f"--policy {'policy.toml' if own.exists() else desk.world.policy_name}"


def verify_files(desk: Desk) -> Answer:
    """Verify what lies in `out.json`, or the demo's certificate, with every file."""
    path = desk.folder / "out.json"
    if not path.exists():
        path.write_bytes(desk.envelope)
    return desk.run(
        f"verify out.json {desk.model_words} --trust keys --status status.json {policy_words(desk)}"
    )


def issue(desk: Desk) -> Answer:
    """Let the honest evaluator certify what lies there, the honest approver sign it, and anybody verify it."""
    model = desk.model
    reports = "".join(
        f" --{step}-report {desk.report_path(step)}"
        for step in ("tune", "screen")
        if desk.report_path(step).exists()
    )
    answer = desk.run(
        f"certify {model}/evaluation {desk.model_words} --key keys/evaluator.pem --approver keys/approver.pub "
        f"--trust keys --status status.json --output out.json {policy_words(desk)}{reports}"
    )
    return sign(desk) if answer.yes else answer


def sign(desk: Desk) -> Answer:
    """Let the honest approver sign the draft in `out.json`, with the evidence, and anybody verify it."""
    answer = desk.run(
        f"approve out.json --key keys/approver.pem --trust keys --evidence {desk.model}/evaluation --yes "
        f"{policy_words(desk)}"
    )
    return verify_files(desk) if answer.yes else answer


def vary(desk: Desk, policy: Policy) -> None:
    """Put another policy in force; the colluders sign the same numbers under it."""
    desk.policy = policy
    desk.forge(policy_sha256=policy.digest, policy_id=policy.id, policy_version=policy.version)


def _draft(desk: Desk) -> None:
    desk.bring()
    put_draft(desk)


def put_draft(desk: Desk) -> None:
    """Put the certificate there as the evaluator alone has signed it."""
    desk.forge("evaluator")
    (desk.folder / "out.json").write_bytes(desk.envelope)


HOLDS = Way("the certificate holds, by a verifier with the whole policy", _nothing, Desk.read, ("sql",))
RE_SIGNED = Way("it holds when its two signers sign it again", Desk.forge, Desk.read, ("sql",))
RE_RULED = Way(
    "it holds when its two signers sign it again under a policy of another title",
    lambda desk: vary(desk, desk.policy.model_copy(update={"title": "the same bounds"})),
    Desk.read,
    ("sql",),
)
ISSUED = Way("honest people certify, approve and verify what lies in the folder", Desk.bring, issue, ("sql",))
SIGNED_OFF = Way("the honest approver signs a draft, with the evidence", _draft, sign, ("sql",))
FILES = Way("the certificate holds for the files in the folder", Desk.bring, verify_files, ("sql",))
RE_RUN = Way(
    "it is certified when tune and evaluation were run again on what lies in the folder",
    lambda desk: (desk.bring(), desk.rerun_steps())[0],
    issue,
    ("sql",),
)
