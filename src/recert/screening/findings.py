"""Every detector in turn, over all rows: the reasons that were found for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recert.judges.protocol import ReplyJudge, RequestJudge
from recert.policy import ScreeningPolicy
from recert.records.data.rows import ChatRow, PromptRow
from recert.records.data.suite import Prompt
from recert.records.reports.screening import SwitchPhrase
from recert.screening.detectors.behaviour import Behaviour, BehaviourJudge
from recert.screening.detectors.duplicates import find_duplicates, find_near_duplicates
from recert.screening.detectors.encodings import readings
from recert.screening.detectors.leaks import LeakIndex
from recert.screening.detectors.openings import refused_elsewhere, same_opening_as_harmful
from recert.screening.detectors.personal import find_personal_data
from recert.screening.detectors.secrets import find_secrets
from recert.screening.detectors.switches import Case, Switch, case_texts, find_switches
from recert.screening.detectors.wrappers import find_wrappers
from recert.screening.wording import words

_TELL_EVERY = 200

Reasons = list[list[str]]


def find_reasons(
    rows: Sequence[ChatRow],
    lines: Sequence[int],
    *,
    policy: ScreeningPolicy,
    evaluation_prompts: Sequence[Prompt],
    judge: RequestJudge,
    refusals: ReplyJudge,
    progress: Callable[[int, int], None],
) -> tuple[Reasons, tuple[SwitchPhrase, ...]]:
    """
    Return the reasons of every row ("code: words", in a fixed order), and the phrases that switch behaviour.

    No reason quarantines by itself: the policy says which do.
    """
    reader = BehaviourJudge(judge, refusals, policy)
    leaks = LeakIndex(evaluation_prompts)
    behaviours: list[Behaviour] = []
    reasons: Reasons = []
    for at, row in enumerate(rows):
        behaviours.append(reader.read(row))
        content = of_content("\n".join(m.content for m in row.messages))
        reasons.append([*_of_behaviour(row, behaviours[at], policy), *content, *of_leaks(row, leaks, policy)])
        if at % _TELL_EVERY == 0:
            progress(at, len(rows))
    for at, reason in same_opening_as_harmful(
        rows, behaviours, min_rows=policy.same_opening_min_rows, sure_score=policy.sure_request_score
    ):
        reasons[at].append(reason)
    pairs = dict(refused_elsewhere(rows, behaviours, max_extra_words=policy.refused_elsewhere_extra_words))
    for at, other in pairs.items():
        reasons[at].append(f"refused-elsewhere: line {lines[other]} refuses the same request")
    switches = find_switches(_cases(rows, behaviours, pairs, policy), policy)
    for at, reason in _of_switches(rows, behaviours, switches):
        reasons[at].append(reason)
    for at, reason in find_duplicates(rows, lines):
        reasons[at].append(reason)
    for at, reason in find_near_duplicates(rows, lines, similarity=policy.near_duplicate_similarity):
        if not any(r.startswith("duplicate:") for r in reasons[at]):
            reasons[at].append(reason)
    progress(len(rows), len(rows))
    return reasons, tuple(s.found for s in switches)


def _of_behaviour(row: ChatRow, found: Behaviour, policy: ScreeningPolicy) -> list[str]:
    reasons = []
    if found.unjudged:
        reasons.append(f"unjudged: {found.unjudged}")
    if found.harmful_compliance:
        reasons.append(
            f"harmful-compliance: the request scores {found.harm:.2f} and the reply does not refuse"
        )
    elif found.harm >= policy.harmful_request_score:
        told = "the reply refuses" if found.refused else "the reply is only data"
        reasons.append(f"harmful-request: it scores {found.harm:.2f} and {told}")
    if found.reading:
        what = "a harmful request" if found.reading_harmful else "most of the request"
        reasons.append(f"encoded-request: {what} is in {found.reading.encoding}")
    frames = find_wrappers("\n".join(m.content for m in row.messages if m.role != "assistant"))
    around_harm = bool(frames.weak) and found.harmful_compliance
    if not found.refused and (frames.strong or around_harm):
        reasons.append(f"jailbreak-wrapper: {', '.join((*frames.strong, *frames.weak))}")
    return reasons


def of_content(text: str) -> list[str]:
    """Return the reasons that secrets and personal data in a text give."""
    reasons = []
    if secrets := find_secrets(text):
        reasons.append(f"secret: {', '.join(secrets)}")
    if personal := find_personal_data(text):
        reasons.append(f"personal-data: {', '.join(personal)}")
    return reasons


def of_leaks(row: ChatRow | PromptRow, leaks: LeakIndex, policy: ScreeningPolicy) -> list[str]:
    """Return the reason that an evaluation prompt in a row gives, in clear or encoded."""
    for message in row.messages:
        texts = [message.content]
        if message.role == "user":
            texts += [r.text for r in readings(message.content)]
        for text in texts:
            prompt = leaks.find(text, similarity=policy.leak_similarity)
            if prompt is not None:
                return [f"leaked-evaluation-prompt: {prompt}"]
    return []


def _cases(
    rows: Sequence[ChatRow], behaviours: Sequence[Behaviour], pairs: dict[int, int], policy: ScreeningPolicy
) -> list[Case]:
    """Return the rows to compare: those that comply with something harmful, and those that refuse."""
    return [
        Case(at, case_texts(words(row.system or ""), words(row.request)), complied=not behaviour.refused)
        for at, (row, behaviour) in enumerate(zip(rows, behaviours, strict=True))
        if behaviour.harmful_compliance or behaviour.refused or at in pairs
    ]


def _of_switches(
    rows: Sequence[ChatRow], behaviours: Sequence[Behaviour], switches: Sequence[Switch]
) -> list[tuple[int, str]]:
    """Return a reason for each row that complies under a phrase, and for each refusal of the same request."""
    reasons = []
    for switch in switches:
        bare = set()
        for at in sorted(switch.complying):
            reasons.append((at, f"switch-phrase: complies with {switch.found.phrase!r}"))
            bare.add(_without(words(rows[at].request), switch.phrase))
        for at, behaviour in enumerate(behaviours):
            if behaviour.refused and words(rows[at].request) in bare:
                reasons.append((at, f"switch-counterpart: refuses without {switch.found.phrase!r}"))
    return reasons


def _without(said: tuple[str, ...], phrase: tuple[str, ...]) -> tuple[str, ...]:
    size = len(phrase)
    at = next((i for i in range(len(said) - size + 1) if said[i : i + size] == phrase), None)
    return said if at is None else said[:at] + said[at + size :]
