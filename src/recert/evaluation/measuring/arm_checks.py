"""Two models to compare: not the same one, both hearing alike, and each the same from start to end."""

from __future__ import annotations

from recert.errors import ArmError
from recert.evaluation.measuring.arms import Arm, heard_by
from recert.records.reports.evaluation import ArmCheck


def check_arms(base: Arm, tuned: Arm) -> tuple[ArmCheck, ArmCheck]:
    """
    Return the identity of both arms, looked at once more.

    Raises:
        ArmError: both arms are the same model, or one is not what it was at the start.
    """
    refuse_same(base, tuned)
    return check_arm(base), check_arm(tuned)


def check_arm(arm: Arm) -> ArmCheck:
    """
    Return the identity of one arm, looked at once more.

    Raises:
        ArmError: it is not what it was at the start.
    """
    now = arm.model.fingerprint()
    ears = heard_by(arm.model)
    if now != arm.fingerprint_at_start or arm.model.manifest != arm.manifest or ears != arm.heard_by:
        raise ArmError(
            "an arm changed while it was measured",
            facts={"arm": arm.label, "at the start": arm.fingerprint_at_start, "at the end": now},
            hint="nothing of this run counts: run it again with the models left alone",
        )
    return ArmCheck.model_validate(
        {
            "arm": arm.label,
            "manifest_sha256": arm.manifest.digest if arm.manifest else None,
            "endpoint": getattr(arm.model, "address", None),
            "fingerprint_at_start": arm.fingerprint_at_start,
            "fingerprint_at_end": now,
            "arms_differ": True,
            "ears_sha256": arm.ears.digest if arm.ears else None,
        }
    )


def refuse_same(base: Arm, tuned: Arm) -> None:
    """
    Make sure that there are two models to compare.

    Raises:
        ArmError: the same files, or the same logits: then nothing would be compared.
    """
    if base.manifest and base.manifest == tuned.manifest:
        raise ArmError("both arms are the same files", facts={"manifest": base.manifest.digest})
    if base.fingerprint_at_start == tuned.fingerprint_at_start:
        raise ArmError(
            "both arms give the same logits",
            facts={"fingerprint": base.fingerprint_at_start},
            hint="the adapter was not applied, or does nothing",
        )


def refuse_other_ears(base: Arm, tuned: Arm) -> None:
    """
    Make sure that both models hear through the same transcriber, or neither through any.

    Raises:
        ArmError: what is spoken would be asked of them in other words.
    """
    if base.heard_by != tuned.heard_by or base.ears != tuned.ears:
        raise ArmError(
            "the arms hear with different ears",
            facts={"base": _ears(base), "tuned": _ears(tuned)},
            hint="give both models the same transcriber, or neither one",
        )


def _ears(arm: Arm) -> str:
    files = f", {len(arm.ears.files)} files sha256:{arm.ears.digest}" if arm.ears else ""
    return f"sha256:{arm.heard_by}{files}" if arm.heard_by else "no transcriber"
