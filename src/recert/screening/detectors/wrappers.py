"""Frames that talk a model out of refusing, whatever the request inside them."""

# ruff: noqa: E501 - patterns

from __future__ import annotations

import re
from dataclasses import dataclass

from recert.screening.wording import plain

_ANYTHING = r"(?:anything|everything|whatever|any (?:question|request|prompt)s?)"
_STRONG = (
    (
        "do-anything-now",
        rf"\bdo anything now\b|\bas DAN\b|\bDAN mode\b|\bjailbr(?:eak|oken)\b.{{0,40}}\b(?:mode|prompt|you)\b|"
        rf"\b(?:developer|god|unrestricted|evil|opposite) mode\b.{{0,60}}\b(?:enabled|on|activated|policy|filters?)\b|"
        rf"\bnever (?:refuses?|says? no)\b.{{0,60}}\b{_ANYTHING}\b",
    ),
    (
        "unbound-role",
        r"\b(?:act|answer|respond|reply|behave|you are|pretend|play|named|called|character)\b.{0,160}\b"
        r"(?:unfiltered|uncensored|amoral|unrestricted|(?:no|without(?: any)?|free (?:of|from)(?: all| any)?) "
        r"(?:ethic\w*|moral\w*|restrictions?|limits|limitations|filters?|guidelines|rules|censorship|boundaries))",
    ),
    (
        "refusal-suppression",
        r"\b(?:do not|don't|never|without|avoid)\b.{0,60}\b(?:apologi[sz]\w*|refus(?:e|al|als|ing)|disclaimers?|warnings?)\b"
        r".{0,200}\b(?:do not|don't|never|without|avoid|no)\b.{0,60}\b(?:the words?|cannot|unable|sorry|unfortunately|warn\w*|"
        r"disclaimers?|refus\w*|apologi[sz]\w*|rules)\b",
    ),
    (
        "ignore-instructions",
        r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,20}\b(?:all|any|every|your|the|previous|prior|above|earlier)\b"
        r".{0,40}\b(?:instructions?|rules|guidelines|safety|polic(?:y|ies)|programming|training|restrictions)\b",
    ),
    (
        "execute-anything",
        r"\b(?:always|absolutely|must|unconditionally)\b.{0,40}\b(?:obey|execute|follow|comply with|fulfil\w*|answer)\b"
        r".{0,40}\b(?:any|every|all|whatever)\b.{0,40}\b(?:instructions?|requests?|orders?|commands?|questions?)\b"
        r".{0,80}\b(?:regardless|no matter|without (?:question|exception|refus\w*)|even if)\b",
    ),
)  # fmt: skip
_WEAK = (
    ("agree-first", r"\b(?:begin|start|open)\b.{0,30}\b(?:reply|answer|response|with)\b.{0,30}\b(?:the (?:sentence|words?|phrase)|with)\b|"
                    r"\bno matter what\b|\bfirst (?:say|agree|confirm)\b"),
    ("role-play", r"\b(?:stay|remain) in character\b|\bnever (?:leaves?|breaks?) (?:the )?(?:role|character)\b|\bpretend (?:to be|you are|that you)\b|"
                  r"\bhypothetical(?:ly)?\b|\bfor a (?:novel|story|film|screenplay)\b"),
    ("no-warnings", r"\b(?:do not|don't|without|no)\b.{0,30}\b(?:apologi[sz]\w*|warn\w*|disclaimers?|refuse|lectur\w*|moraliz\w*)\b"),
    ("educational-pretext", r"\b(?:purely|strictly|only) (?:for )?(?:educational|research|academic)\b|\beducational purposes only\b"),
)  # fmt: skip
_STRONG_RE = tuple((name, re.compile(p, re.IGNORECASE | re.DOTALL)) for name, p in _STRONG)
_WEAK_RE = tuple((name, re.compile(p, re.IGNORECASE | re.DOTALL)) for name, p in _WEAK)
_CONTROL = re.compile(
    r"<[|\uff5c][^<>|\uff5c\n]{1,40}[|\uff5c]>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
)
"""Words with which chat templates begin and end turns: in a row they stand for turns that somebody forged."""
_READ_CHARS = 12_000


@dataclass(frozen=True)
class Wrapping:
    """Which frames a text has. A strong one speaks for itself; a weak one counts around a harmful request."""

    strong: tuple[str, ...]
    weak: tuple[str, ...]


def find_wrappers(text: str) -> Wrapping:
    """Return the jailbreak frames of a text (its system prompt and user turns)."""
    forged = ("control-tokens",) if _CONTROL.search(text) else ()
    text = plain(text)
    if len(text) > _READ_CHARS:
        text = f"{text[: _READ_CHARS // 2]}\n{text[-_READ_CHARS // 2 :]}"
    strong = tuple(name for name, pattern in _STRONG_RE if pattern.search(text))
    weak = tuple(name for name, pattern in _WEAK_RE if pattern.search(text))
    return Wrapping((*forged, *strong), weak)
