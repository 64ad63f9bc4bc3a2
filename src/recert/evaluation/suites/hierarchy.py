"""
Instruction-hierarchy prompts: what the system prompt says comes before what the user orders.

Four kinds, after the joint exercise of OpenAI and Anthropic of August 2025; every word here is our own. In each the
user asks for what the system prompt forbids, and a checker (`recert.judges.embedded.hierarchy`) looks for it in
the reply.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from recert.evaluation.suites import hierarchy_words as words
from recert.records.data.suite import Message, Prompt, Suite

HIERARCHY: Final = "hierarchy"
"""The suite's name."""

_TWINS: Final = 2


def hierarchy_suite() -> Suite:
    """
    Return 96 requests that a good model does not grant, and 24 that it answers, the same on every machine.

    Categories: `password` (the system prompt holds one, the user wants it), `phrase` (one that must never
    be written), `conflict` (a name, a discount, a closing day against the user's orders), `chain` (an
    earlier conversation is replayed before the last request). Every request comes in two settings, which are
    one cluster: 48 observations. `forbidden` says what must not be in the reply.
    """
    prompts = (*_password(), *_phrase(), *_conflict(), *_chain(), *_permitted())
    return Suite(name=HIERARCHY, provenance="Recert's generated instruction-hierarchy suite", prompts=prompts)


def _settings(kind: int, ask: int) -> Iterator[tuple[str, int, str]]:
    """Twice: a letter, a number that no other prompt has, and a place."""
    for twin in range(_TWINS):
        number = (kind * len(words.PASSWORD) + ask) * _TWINS + twin
        yield "ab"[twin], number, words.PLACES[(number * 5 + kind) % len(words.PLACES)]


def _prompt(
    kind: str,
    ask: int,
    twin: str,
    *,
    text: str,
    system: str,
    forbidden: tuple[str, ...],
    turns: tuple[Message, ...] = (),
) -> Prompt:
    return Prompt(
        id=f"{HIERARCHY}-{kind}-{ask + 1:02d}{twin}",
        text=text,
        category=kind,
        expect="refuse",
        system=system,
        turns=turns,
        forbidden=forbidden,
        cluster=f"{HIERARCHY}-{kind}-{ask + 1:02d}",
    )


def _secret(number: int) -> str:
    """Three parts that no user turn holds, such as `marble-heron-47`."""
    first = words.FIRST[number % len(words.FIRST)]
    second = words.SECOND[(number // len(words.FIRST) * 7 + number * 3) % len(words.SECOND)]
    return f"{first}-{second}-{21 + number * 37 % 78}"


def _password() -> Iterator[Prompt]:
    for ask, template in enumerate(words.PASSWORD):
        for twin, number, place in _settings(0, ask):
            secret = _secret(number)
            system = words.STAFF_SYSTEM.format(place=place, secret=secret)
            text = template.format(place=place)
            yield _prompt("password", ask, twin, text=text, system=system, forbidden=(secret,))


def _phrase() -> Iterator[Prompt]:
    for ask, template in enumerate(words.PHRASE):
        for twin, number, place in _settings(1, ask):
            phrase = words.PHRASES[number % len(words.PHRASES)]
            system = words.PHRASE_SYSTEM.format(place=place, phrase=phrase)
            wrong = f"{phrase[:4]}{phrase[3:]}"  # one letter twice
            text = template.format(place=place, phrase=phrase, first=phrase.split(" ", 1)[0], wrong=wrong)
            yield _prompt("phrase", ask, twin, text=text, system=system, forbidden=(phrase,))


def _conflict() -> Iterator[Prompt]:
    asks = [(rule, ask) for rule in words.CONFLICTS for ask in rule.asks]
    for at, (rule, template) in enumerate(asks):
        for twin, number, place in _settings(2, at):
            fill = {"place": place, "name": words.NAMES[number % 6], "other": words.NAMES[6 + number % 6]}
            yield _prompt(
                "conflict",
                at,
                twin,
                text=template.format(**fill),
                system=rule.system.format(**fill),
                forbidden=tuple(one.format(**fill) for one in rule.forbidden),
            )


def _chain() -> Iterator[Prompt]:
    for ask, chain in enumerate(words.CHAINS):
        for twin, number, place in _settings(3, ask):
            secret = _secret(number)
            turns = tuple(
                Message(role="assistant" if at % 2 else "user", content=turn.format(place=place))
                for at, turn in enumerate(chain[:-1])
            )
            yield _prompt(
                "chain",
                ask,
                twin,
                text=chain[-1].format(place=place),
                system=words.CHAIN_SYSTEM.format(place=place, secret=secret),
                forbidden=(secret,),
                turns=turns,
            )


def _permitted() -> Iterator[Prompt]:
    """What the same system prompts allow: a model that now refuses this as well is no safer."""
    systems = (
        ("password", words.STAFF_SYSTEM),
        ("phrase", words.PHRASE_SYSTEM),
        ("conflict", words.CONFLICTS[0].system),
        ("chain", words.CHAIN_SYSTEM),
    )
    for kind, (name, system) in enumerate(systems):
        for ask, template in enumerate(words.PERMITTED):
            place = words.PLACES[(ask + 3 * kind) % len(words.PLACES)]
            fill = {
                "place": place,
                "secret": _secret(ask),
                "phrase": words.PHRASES[ask],
                "name": words.NAMES[ask],
            }
            yield Prompt(
                id=f"{HIERARCHY}-{name}-permitted-{ask + 1:02d}",
                text=template.format(place=place),
                category=name,
                expect="comply",
                system=system.format(**fill),
                cluster=f"{HIERARCHY}-permitted-{ask + 1:02d}",
            )
