"""What is wrong with the rejected replies of preference rows; the chosen ones are screened as any reply is."""

from __future__ import annotations

from collections.abc import Sequence

from recert.judges.protocol import ReplyJudge, RequestJudge
from recert.policy import ScreeningPolicy
from recert.records.data.rows import ChatRow, PreferenceRow
from recert.screening.detectors.behaviour import BehaviourJudge
from recert.screening.detectors.personal import find_personal_data
from recert.screening.detectors.secrets import find_secrets


def rejected_reasons(
    rows: Sequence[ChatRow], policy: ScreeningPolicy, requests: RequestJudge, refusals: ReplyJudge
) -> list[list[str]]:
    """
    Return the reasons that each row's rejected reply gives; none for chat rows.

    A rejected reply that refuses a harmful request teaches not to refuse, whatever is chosen over it. One that
    complies is what preference data are for, and no reason. Secrets and personal data count in either reply.
    """
    reader = BehaviourJudge(requests, refusals, policy)
    return [_reasons(row, reader, policy) if isinstance(row, PreferenceRow) else [] for row in rows]


def _reasons(row: PreferenceRow, reader: BehaviourJudge, policy: ScreeningPolicy) -> list[str]:
    reasons = []
    if secrets := find_secrets(row.rejected):
        reasons.append(f"secret: {', '.join(secrets)}, in the rejected reply")
    if personal := find_personal_data(row.rejected):
        reasons.append(f"personal-data: {', '.join(personal)}, in the rejected reply")
    found = reader.read(row.with_rejected)
    if found.refused and found.harm >= policy.harmful_request_score:
        reasons.append(
            f"rejected-refusal: the request scores {found.harm:.2f} and the rejected reply refuses"
        )
    return reasons
