"""A policy in plain words, for somebody who answers for it and does not read TOML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from recert.policy.changes.weaknesses import weaknesses
from recert.policy.policy import GatewayPolicy, Policy, Rule
from recert.policy.sections.carry_over import CarryOverPolicy
from recert.policy.sections.speech import SPEECH
from recert.records.data.suite import CATEGORIES

_MEASURES: Final = {
    "harm": "harmful requests answered",
    "over_refusal": "harmless requests refused",
    "utility_loss": "tasks answered wrongly",
    "incoherence": "replies that are no language",
    "answer_harm": "harmful requests whose answer, without its trace, does not refuse",
    "trace_harm": "harmful requests whose trace does not mean to decline",
    "refused_then_harm": "harmful requests that the trace means to decline and the answer does not refuse",
    "self_jailbreak": "harmful requests that the trace argues itself into answering",
}
_NEVER: Final = (
    "Replies are read up to {tokens} tokens: what a model says later is not seen.",
    "What is measured is agreement with harmful requests, not how dangerous the content is.",
    "Prompts are those of the suites: other languages, images, audio, tools and long conversations are covered only "
    "where a suite has them.",
    "A trigger or an attack family that is not named is not ruled out.",
)


@dataclass(frozen=True)
class Section:
    """A heading and its sentences."""

    heading: str
    sentences: tuple[str, ...]


def explain(policy: Policy) -> tuple[Section, ...]:
    """Return a policy in sentences: what it bounds, who signs, what stands before the model, what it does not cover."""
    title = f"{policy.id}, version {policy.version}, for {policy.deployment} use"
    return (
        Section(title, tuple(_head(policy))),
        Section("What a tuned model must show", tuple(_rules(policy))),
        Section("How sure it must be", tuple(_sureness(policy))),
        Section("What is asked for beside the rules", tuple(_beside(policy))),
        Section("Who signs, and for how long", tuple(_signing(policy))),
        Section("What stands before the model while it is served", tuple(_controls(policy.gateway))),
        Section("What is watched, and what is kept", tuple(_after(policy))),
        Section("What it does not cover", tuple(_not_covered(policy))),
        Section("How it came to be", tuple(_history(policy))),
    )


def as_text(sections: Sequence[Section], *, markdown: bool = False) -> str:
    """Return sections as plain text, or as Markdown; sections without a sentence are left out."""
    out = []
    for number, section in enumerate(s for s in sections if s.sentences):
        mark = ("# " if not number else "## ") if markdown else ""
        out.append(f"{mark}{section.heading}\n")
        out += [f"{'-' if markdown else ' '} {sentence}" for sentence in section.sentences]
        out.append("")
    return "\n".join(out)


def _head(policy: Policy) -> Iterator[str]:
    if policy.title:
        yield f"{policy.title}."
    yield f"Its digest is sha256:{policy.digest}; every certificate made under it names that."


def _rules(policy: Policy) -> Iterator[str]:
    for rule in policy.rules:
        yield f"{rule.id}: {_bound(rule)} {_where(rule, policy)}{_more(rule)}"
    if policy.suites:
        yield f"The prompts of {', '.join(policy.suites)} are pinned: other ones under these names do not count."


def _bound(rule: Rule) -> str:
    of = (
        ", each hazard category for itself,"
        if rule.category == "*"
        else f" of {rule.category}"
        if rule.category
        else ""
    )
    return (
        f"of the suite {rule.suite}{of} the share of {_MEASURES[rule.estimand]} may rise by less than "
        f"{_percent(rule.margin)} of replies over the base's"
    )


def _where(rule: Rule, policy: Policy) -> str:
    names = policy.conditions_of(rule)
    if not names:
        return "under no condition that is measured, so that it can never pass"
    plain = ["as they stand"] if "plain" in names else []
    families = [name.removeprefix("family:") for name in names if name.startswith("family:")]
    attacked = [f"under each of {len(families)} attack families ({', '.join(families)})"] if families else []
    modes = [name.removeprefix("thinking:") for name in names if name.startswith("thinking:")]
    thinking = [f"with reasoning {', '.join(modes)}"] if modes else []
    context = ["in the context of the tuning data"] if "training-context" in names else []
    ways = [name.removeprefix(SPEECH) for name in names if name.startswith(SPEECH)]
    aloud = [f"spoken aloud ({', '.join(ways)})"] if ways else []
    return ", ".join([*plain, *attacked, *thinking, *context, *aloud])


def _more(rule: Rule) -> str:
    said = []
    if rule.max_tuned is not None:
        said.append(f" The tuned model's own share may be {_percent(rule.max_tuned)} at most.")
    if rule.max_base is not None:
        said.append(f" A base above {_percent(rule.max_base)} has nothing to lose, which is no pass.")
    if rule.judge:
        said.append(f" The judge {rule.judge} decides.")
    if rule.min_judge_quality == 0:
        said.append(" Its judge's scores are taken for the truth.")
    return "." + "".join(said)


def _sureness(policy: Policy) -> Iterator[str]:
    bounds = policy.evaluation
    most = _percent(bounds.alpha)
    yield (
        f"A model that is worse by a rule's margin or more passes with a chance of {most} at most, and one that is not "
        f"is refused as worse with a chance of {most} at most."
    )
    yield (
        f"Each rule asks {bounds.min_prompts} to {bounds.max_prompts} prompts under each condition; what is still open "
        "then is undecided, which is no pass."
    )
    yield (
        f"{bounds.min_harmful_suites} independent sets of harmful requests must pass"
        + (
            f", and one of {', '.join(bounds.contrast_suites)}, which only look harmful"
            if bounds.contrast_suites
            else ""
        )
        + f"; the base must tell them apart by {_percent(bounds.min_discrimination)}."
    )
    if bounds.families_with_signal is not None:
        yield (
            "Where the base already fails under an attack family, or in the context of the tuning data, that is a "
            f"stated limitation while plain requests and {bounds.families_with_signal} of {len(bounds.families)} "
            "families pass; a tuned model that is shown to be worse there fails."
        )
    yield (
        f"Of replies that were kept from an earlier run {_percent(bounds.recheck_cached)}, and eight of each model at "
        "least, are asked again; where too many are judged otherwise nothing of the run counts."
    )


def _beside(policy: Policy) -> Iterator[str]:
    hunt, stress = policy.hunt, policy.stress
    if hunt.required:
        yield (
            f"Unknown triggers are searched, up to {hunt.words} words and {hunt.longest} words a phrase; a model in "
            "which one is found does not pass."
        )
    if stress.required:
        yield (
            "The base must have been stressed under this policy: one harmless step may not change its harm by "
            f"{_percent(stress.step_margin)}."
        )
    yield from _attacked(policy)
    held = len(policy.screening.quarantine_reasons)
    yield f"Tuning rows are screened, and held back for any of {held} reasons."


def _attacked(policy: Policy) -> Iterator[str]:
    said = policy.attack
    if said is None:
        return
    yield (
        f"Attackers that converse ({', '.join(said.attackers)}) try {said.min_items} harmful items or more for "
        f"{said.turns} turns, with {said.seeds} seeds at least: of the items {_percent(said.max_coverage)} at most may "
        f"be reached by any of them, at the upper end of the interval, a reply counting from a harm of {said.bound:g}."
    )
    if said.max_success is not None:
        yield f"Of their conversations {_percent(said.max_success)} at most may reach it."
    if said.max_change is not None:
        yield f"That share may be {_percent(said.max_change)} above the base's at most."
    yield f"{_percent(said.max_open)} of conversations at most may be left open; they count as reached."
    if said.min_agreement is not None:
        yield f"Their judges must agree to {said.min_agreement:g} at least (ICC(2,k), lower end)."


def _signing(policy: Policy) -> Iterator[str]:
    said = policy.certification
    needed = {one.role: max(r.threshold for r in said.roles if r.role == one.role) for one in said.roles}
    yield "Signatures needed: " + ", ".join(f"{n} as {role}" for role, n in needed.items()) + "."
    yield (
        "Who evaluates is somebody else than who trained."
        if said.evaluator_differs_from_trainer
        else "Who trained may evaluate."
    )
    yield f"A certificate holds for {_hours(said.validity_hours)}, unless a clean watch renews it."
    for rule in said.roles:
        if rule.valid_hours is not None:
            yield f"A signature as {rule.role} counts for {_hours(rule.valid_hours)}, and the certificate with it."
    if said.exceptions is not None:
        yield (
            f"A risk owner may accept a result that is no pass, of {', '.join(said.exceptions.rules)}, for "
            f"{_hours(said.exceptions.max_hours)} at most."
        )
    yield from _carrying(said.carry_over)
    yield (
        "A tune of a certified tune may be worse than the first base by at most "
        f"{said.chained_margins:g} times what a rule allows one tune, all changes added up."
    )
    if said.logged:
        yield "A certificate counts only with a proof that it is in a transparency log."
    if said.log_witnesses:
        yield f"The log's checkpoint must be cosigned by {said.log_witnesses} trusted witnesses."
    yield f"A list of what is revoked or suspended holds for {_hours(said.status_validity_hours)}."


def _carrying(bounds: CarryOverPolicy | None) -> Iterator[str]:
    if bounds is None:
        return
    yield (
        f"After {' or '.join(bounds.transforms)}, results on {', '.join(bounds.suites)} may be carried over from the "
        f"certificate of the model that it was done to, where each is shown, on {bounds.min_prompts} to "
        f"{bounds.max_prompts} prompts, to have changed by less than {_percent(bounds.margin)}, with a chance of "
        f"{_percent(bounds.alpha)} at most that it has not; such a model may be worse than its base by that much more "
        "than its rules say."
    )
    yield (
        f"Both must begin their replies to {bounds.min_probes} probes or more with probabilities that are "
        f"{bounds.max_distance:g} apart at most; the certificate ends with the other one, and what is carried over is "
        "not carried further."
    )


def _controls(gateway: GatewayPolicy) -> Iterator[str]:
    yield (
        f"Requests are blocked from a harm score of {gateway.input_harm_score:g}, replies from "
        f"{gateway.output_harm_score:g}, where their category has no threshold of its own."
    )
    for name, threshold in sorted(gateway.thresholds.items()):
        if threshold not in ("none", "off"):
            score = gateway.levels.blocked_from(threshold)
            yield f"Harm of the category {name} is blocked from {score:g} ({threshold})."
    if gateway.conversation.active:
        yield f"A conversation is blocked as a whole from a risk of {gateway.conversation.blocked_at:g}."
    for words, value in (("before", gateway.system_instruction), ("after", gateway.immutable_suffix)):
        if value:
            yield f"Words of the policy are put {words} every conversation: {value!r}."
    if gateway.trigger_probe:
        yield f"Each request is tried for triggers with {gateway.trigger_probe.probes} probes."
    if gateway.audio:
        heard = gateway.audio
        words = (
            "their words are passed on"
            if heard.passes_on == "transcript"
            else "they are passed on as they came"
        )
        yield (
            f"Requests may be spoken: at most {heard.max_clips} clips of {heard.max_clip_s:g} s, each transcribed with "
            f"a confidence of at least {heard.min_confidence:g} and judged by its words; {words}."
        )
    if gateway.forbidden_phrases:
        yield f"{len(gateway.forbidden_phrases)} phrases never leave the gateway."
    yield (
        f"Beyond plain chat it allows {', '.join(gateway.allow) or 'nothing'}; replies have {gateway.max_new_tokens} "
        f"tokens at most, and a temperature of {gateway.max_temperature:g} at most."
    )


def _after(policy: Policy) -> Iterator[str]:
    watched = policy.monitoring
    yield (
        f"A watch asks {watched.canary_prompts} prompts again for each rate, and suspends where one is shown to have "
        f"risen by more than {_percent(watched.margin)}."
    )
    kept = policy.retention
    for what, days, bound in (
        (
            "Evidence and certificates are kept for",
            kept and kept.evidence_days,
            "at least, after a certificate ends",
        ),
        ("The audit log is kept for", kept and kept.audit_days, "at least"),
        ("Requests and replies, where any are kept, are deleted after", kept and kept.texts_days, "at most"),
    ):
        if days:
            yield f"{what} {days} days {bound}."


def _not_covered(policy: Policy) -> Iterator[str]:
    yield from (words.format(tokens=policy.evaluation.max_new_tokens) for words in _NEVER)
    named = {rule.category for rule in policy.rules if rule.estimand == "harm"}
    if "*" not in named:
        alone = [name for name in CATEGORIES if name not in named]
        yield (
            f"{len(alone)} of {len(CATEGORIES)} hazard categories have no bound of their own: harm in one of them can "
            "hide in the share of all."
        )
    for note in weaknesses(policy):
        yield f"{note[0].upper()}{note[1:]}."


def _history(policy: Policy) -> Iterator[str]:
    for change in policy.changes:
        yield f"Version {change.version}, {change.date:%Y-%m-%d}, {change.by}: {change.why}"
    for contact in policy.contacts:
        yield f"Ask the {contact.role}: {' '.join(filter(None, (contact.name, contact.reach)))}."


def _percent(share: float) -> str:
    return f"{share * 100:.4g} %"


def _hours(hours: float) -> str:
    return f"{hours / 24:g} days" if hours >= 48 and hours % 24 == 0 else f"{hours:g} hours"
