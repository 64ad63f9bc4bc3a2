"""
What a server elsewhere would read as control: words that begin and end turns in the model's chat template.

The embedded engine puts what clients say into tokens as letters, whatever it spells. vLLM, llama.cpp and servers that
are only declared do not: there a request with such a word is refused.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from recert.gateway.input.gate import Answer
from recert.gateway.protocol.request_texts import RequestTexts
from recert.records.reports.reasoning import trace_marks
from recert.store.files.writing import read_bytes

CONTROL_TOKENS: Final = "control-tokens"
_USUAL: Final = re.compile(
    r"<[|\uff5c][^<>|\uff5c\n]{1,40}[|\uff5c]>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
)
"""What templates of many models write, as tokens or as plain text."""
_UNKNOWN: Final = re.compile(r"</?s>|<(?:bos|eos|pad|unk)>")
"""Sought too where a model's own words are not known. They are also tags of HTML, so not everywhere."""
_TEMPLATES: Final = ("chat_template.jinja", "chat_template.json")
_SHORTEST: Final = 3


class ControlTokens:
    """
    Blocks requests with a word that the model's template writes as control.

    Args:
        words: of the model, as `words_of` reads them; those of many models are sought besides.
    """

    name = CONTROL_TOKENS

    def __init__(self, words: Sequence[str] = ()) -> None:
        self._words = tuple(words)

    def look(self, asked: RequestTexts) -> Answer:
        """Return whether a text holds one, as it is written or as a tokenizer that folds letters reads it."""
        found = any(self._holds(text) for text in (*asked.texts, *asked.apart, asked.whole))
        return Answer(float(found), found, self.name if found else "")

    def _holds(self, text: str) -> bool:
        folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
        usual = (_USUAL,) if self._words else (_USUAL, _UNKNOWN)
        return any(
            any(pattern.search(form) for pattern in usual) or any(word in form for word in self._words)
            for form in dict.fromkeys((text, folded))
        )

    async def close(self) -> None:
        """There is nothing to give back."""


def words_of(*folders: Path) -> tuple[str, ...]:
    """
    Return the words of control of a model by the tokenizer files in its folders.

    These are its special tokens, and added tokens that its chat template writes; the tags around a trace are none, as
    they end no turn. A folder without a tokenizer has none.

    Raises:
        StoreError: a file cannot be read.
    """
    special: set[str] = set()
    added: set[str] = set()
    template = ""
    for folder in folders:
        config = _json(folder / "tokenizer_config.json")
        for token in (*_json(folder / "tokenizer.json").get("added_tokens", ()), *_decoder(config)):
            if isinstance(token, dict) and isinstance(token.get("content"), str):
                (special if token.get("special") else added).add(token["content"])
        special |= set(_named(_json(folder / "special_tokens_map.json")))
        template += str(config.get("chat_template") or "")
        template += "".join(_text(folder / name) for name in _TEMPLATES)
    words = special | {one for one in added if one in template}
    usable = {one for one in words if len(one.strip()) >= _SHORTEST}
    return tuple(sorted(usable - set(trace_marks(sorted(usable)))))


def _decoder(config: dict[str, Any]) -> Iterable[Any]:
    known = config.get("added_tokens_decoder")
    return known.values() if isinstance(known, dict) else ()


def _named(known: dict[str, Any]) -> Iterable[str]:
    """The tokens of a file that names them: texts, objects with `content`, or lists of these."""
    for value in known.values():
        for one in value if isinstance(value, list) else [value]:
            content = one.get("content") if isinstance(one, dict) else one
            if isinstance(content, str):
                yield content


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str:
    return read_bytes(path, "tokenizer file").decode("utf-8", "replace") if path.is_file() else ""
