"""
From the facts of many records to systems: base, tunes of it, their checkpoints.

A tune's report begins a system. An evaluation belongs to the tune of the very files that it names, a certificate to the
evaluation that it names by digest; of several that fit, the one that lies nearest. What belongs to nothing is a system
of its own, so that no record is left out. A base is listed for every base whose files something names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os.path import commonpath
from pathlib import Path
from typing import Any, Final

from recert.digest import sha256_bytes
from recert.store.systems.indexed import place_of
from recert.workflows.index.record_files import Facts

_STAGES: Final = frozenset(
    {"screen", "screened", "tune", "tuned", "evaluation", "hunt", "attack", "stress", "watch"}
)
"""Folders that commands and guides call by what they hold: the system lies around them."""
_TUNE: Final = "tune-report.json"
_DEEPEST: Final = 64


@dataclass
class Member:
    """A system as its records tell of it; the state of its certificate comes later."""

    id: str
    place: Path
    """The folder that it lies in."""
    kind: str = "tune"
    name: str = ""
    base: str = ""
    """Digest of the base's manifest; empty where nobody saw its files."""
    tuned: str = ""
    verdict: str = ""
    records: dict[str, Path] = field(default_factory=dict)
    facts: dict[str, Facts] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    parent: Member | None = None
    base_name: str = ""

    @property
    def updated_s(self) -> int:
        """When something of it was made last."""
        return max((facts.get("at", 0) for facts in self.facts.values()), default=0)

    @property
    def folder(self) -> Path:
        """Where its certificate lies, or its evaluation, or its tune."""
        for name in ("certificate", "evaluation", "tune"):
            if name in self.records:
                return place_around(self.records[name])
        return self.place

    def above(self) -> list[Member]:
        """Return what it was made of, one after the other, the first of all first."""
        found: list[Member] = []
        one = self.parent
        while one is not None and len(found) < _DEEPEST:
            found.insert(0, one)
            one = one.parent
        return found

    def sorted_as(self) -> bytes:
        """Return what sorts it behind what it was made of."""
        place = b""
        for one in (*self.above(), self):
            place = place_of(one.name, one.id, place)
        return place

    def take(self, name: str, path: Path, facts: Facts) -> None:
        """Let a record be one of this system's."""
        self.records[name], self.facts[name] = path, facts


def place_around(path: Path) -> Path:
    """Return the folder of the system that a record belongs to, as the commands lay records out."""
    if path.name.endswith(f"-{_TUNE}"):
        return path.parent / path.name.removesuffix(f"-{_TUNE}")
    folder = path.parent
    return folder.parent if folder.name in _STAGES else folder


def systems_of(files: Mapping[Path, Facts], *, names: Mapping[str, str] | None = None) -> list[Member]:
    """
    Return every system that records tell of, bases first.

    Args:
        files: the facts of every record, by its path.
        names: what bases are called, by the digests of their manifests, where somebody knows.
    """
    made = _Members()
    by_kind: dict[str, list[tuple[Path, Facts]]] = defaultdict(list)
    for path, facts in sorted(files.items()):
        by_kind["trouble" if facts.get("trouble") else facts.get("kind", "")].append((path, facts))
    for path, facts in by_kind["tune"]:
        made.begin(path, facts).take("tune", path, facts)
    _evaluations(made, by_kind["evaluation"])
    _certificates(made, by_kind["certificate"])
    _beside(made, by_kind)
    _screens(made, by_kind["screen"], {path.parent for path, _ in by_kind["service"]})
    for path, facts in by_kind["trouble"]:
        _troubled(made, path, facts)
    called = _base_names(by_kind, made.all, names or {})
    bases = _bases(made.all, by_kind["stress"], called)
    for one in made.all:
        _named(one)
    return [*bases, *made.all]


class _Members:
    """Systems as they are found, by what others name them by."""

    def __init__(self) -> None:
        self.all: list[Member] = []
        self.by_files: dict[tuple[str, str], list[Member]] = defaultdict(list)
        self.by_place: dict[Path, list[Member]] = defaultdict(list)
        self._ids: set[str] = set()

    def begin(self, path: Path, facts: Facts) -> Member:
        """A new system around a record."""
        place = place_around(path)
        id_ = sha256_bytes(str(place).encode())[:24]
        if id_ in self._ids:
            id_ = sha256_bytes(str(path).encode())[:24]
        self._ids.add(id_)
        one = Member(id_, place, base=facts.get("base", ""), tuned=facts.get("tuned", ""))
        self.all.append(one)
        self.by_place[place].append(one)
        if one.base and one.tuned:
            self.by_files[one.base, one.tuned].append(one)
        return one

    def of_files(self, facts: Facts) -> list[Member]:
        """Those of exactly the files that a record names."""
        pair = facts.get("base", ""), facts.get("tuned", "")
        return self.by_files[pair] if all(pair) else []


def _nearest(members: Iterable[Member], path: Path) -> Member | None:
    """The one that shares most of its place with a record's."""
    place = place_around(path)
    return max(
        members, key=lambda one: (one.place == place, len(commonpath([one.place, path]))), default=None
    )


def _evaluations(made: _Members, found: list[tuple[Path, Facts]]) -> None:
    """Those in a tune's own folder first, so that a stranger's takes no place of theirs."""
    far: list[tuple[Path, Facts]] = []
    near: list[tuple[Path, Facts]] = []
    for path, facts in found:
        own = any(one.place == place_around(path) for one in made.of_files(facts))
        (near if own else far).append((path, facts))
    for path, facts in [*near, *far]:
        same = made.of_files(facts)
        one = _nearest((m for m in same if "evaluation" not in m.records), path)
        if one is None:
            twin = _nearest(same, path)
            one = made.begin(path, facts)
            if twin is not None and "tune" in twin.records:
                one.take("tune", twin.records["tune"], twin.facts["tune"])
        one.take("evaluation", path, facts)
        one.verdict = facts["verdict"]


def _certificates(made: _Members, found: list[tuple[Path, Facts]]) -> None:
    """Of several for one evaluation the newest counts: it was made in place of the others."""
    by_report: dict[str, list[Member]] = defaultdict(list)
    for one in made.all:
        if "evaluation" in one.facts:
            by_report[one.facts["evaluation"]["digest"]].append(one)
    for path, facts in sorted(found, key=lambda pair: (pair[1]["at"], str(pair[0]))):
        fitting = by_report[facts["evaluation"]] or [
            m for m in made.of_files(facts) if "evaluation" not in m.records
        ]
        one = _nearest(fitting, path) or made.begin(path, facts)
        by_report[facts["evaluation"]] = [*fitting, *([] if one in fitting else [one])]
        one.take("certificate", path, facts)


def _beside(made: _Members, by_kind: Mapping[str, list[tuple[Path, Facts]]]) -> None:
    """Searches for triggers, attackers and watches, by what they name."""
    folders = {m.records["evaluation"].parent: m for m in made.all if "evaluation" in m.records}
    for path, facts in by_kind["hunt"]:
        one = folders.get(path.parent) or _nearest(made.by_place[place_around(path)], path)
        (one or made.begin(path, facts)).take("hunt", path, facts)
    for path, facts in by_kind["attack"]:
        one = _nearest(made.of_files(facts) or made.by_place[place_around(path)], path)
        (one or made.begin(path, facts)).take("attack", path, facts)
    serials = {m.facts["certificate"]["serial"]: m for m in made.all if "certificate" in m.facts}
    for path, facts in sorted(by_kind["watch"], key=lambda pair: (pair[1]["at"], str(pair[0]))):
        one = serials.get(facts["serial"]) or _nearest(made.by_place[place_around(path)], path)
        (one or made.begin(path, facts)).take("watch", path, facts)


def _screens(made: _Members, found: list[tuple[Path, Facts]], services: set[Path]) -> None:
    """Screened rows by the digest that a tune names. What a service screened and nobody tuned on is an upload."""
    by_digest: dict[str, list[Path]] = defaultdict(list)
    facts_of = dict(found)
    for path, facts in found:
        by_digest[facts["digest"]].append(path)
    linked: set[Path] = set()
    for one in made.all:
        paths = by_digest.get(one.facts.get("tune", {}).get("screen", ""), [])
        if paths:
            path = max(paths, key=lambda p: len(commonpath([p, one.place])))
            one.take("screen", path, facts_of[path])
            linked.update(paths)
    for path, facts in found:
        if path in linked or any(folder / "files" in path.parents for folder in services):
            continue
        here = [one for one in made.by_place[place_around(path)] if "screen" not in one.records]
        (here[0] if here else made.begin(path, facts)).take("screen", path, facts)


def _troubled(made: _Members, path: Path, facts: Facts) -> None:
    """A record that cannot be read makes doubtful what it lies with, and is listed by itself where that is nothing."""
    said = f"{path.name}: {facts['trouble']}"
    here = made.by_place[place_around(path)] or [
        one for one in made.all if path.parent in {record.parent for record in one.records.values()}
    ]
    for one in here or [made.begin(path, {})]:
        one.troubles.append(said)


def _base_names(
    by_kind: Mapping[str, list[tuple[Path, Facts]]], members: list[Member], names: Mapping[str, str]
) -> dict[str, str]:
    """What bases are called, by digest: as somebody says, as a stress report does, as a service does."""
    called = {}
    for path, facts in by_kind["service"]:
        for one in members:
            if facts.get("name") and one.base and path.parent in one.place.parents:
                called[one.base] = facts["name"]
    called |= {facts["base"]: facts["name"] for _, facts in by_kind["stress"]}
    return called | dict(names)


def _bases(
    members: list[Member], stressed: list[tuple[Path, Facts]], called: Mapping[str, str]
) -> list[Member]:
    """Link every system to what it was made of, and return the bases that are not themselves tunes of something."""
    by_tuned: dict[str, list[Member]] = defaultdict(list)
    for one in members:
        if one.tuned:
            by_tuned[one.tuned].append(one)
    checkpoints = dict(_checkpoints(members))
    bases: dict[str, Member] = {}
    for digest in dict.fromkeys([m.base for m in members if m.base] + [f["base"] for _, f in stressed]):
        if digest not in by_tuned:
            name = called.get(digest) or f"base {digest[:12]}"
            bases[digest] = Member(sha256_bytes(f"base:{digest}".encode())[:24], Path(), "base", name)
    for one in members:
        whole = checkpoints.get((one.base, one.tuned), [])
        whole = [m for m in whole if m is not one]
        if whole:
            one.kind, one.parent = "checkpoint", _nearest(whole, one.place / _TUNE)
        elif one.base in bases:
            one.parent = bases[one.base]
        elif one.base:
            one.parent = _nearest((m for m in by_tuned[one.base] if m is not one), one.place / _TUNE)
    for one in members:
        if _in_a_circle(one):
            one.parent = None
    for path, facts in sorted(stressed, key=lambda pair: (pair[1]["at"], str(pair[0]))):
        target = bases.get(facts["base"]) or _nearest(by_tuned[facts["base"]], path)
        if target is not None:
            target.take("stress", path, facts)
            target.place = place_around(path) if target.kind == "base" else target.place
    return list(bases.values())


def _in_a_circle(one: Member) -> bool:
    """Whether records name each other as what they were made from."""
    passed, parent = {one.id}, one.parent
    while parent is not None:
        if parent.id in passed:
            return True
        passed.add(parent.id)
        parent = parent.parent
    return False


def _checkpoints(members: list[Member]) -> Iterator[tuple[tuple[str, str], list[Member]]]:
    """The tunes that each checkpoint belongs to, by the files of both."""
    found: dict[tuple[str, str], list[Member]] = defaultdict(list)
    for one in members:
        for _, tuned in one.facts.get("tune", {}).get("checkpoints", []):
            found[one.base, tuned].append(one)
    yield from found.items()


def _named(one: Member) -> None:
    """What a system is called: as its evaluation or certificate says, else as its folder."""
    said: list[Any] = [
        one.facts.get(kind, {}).get("name") for kind in ("evaluation", "certificate", "attack")
    ]
    name = next((name for name in said if name), "")
    if not name and one.kind == "checkpoint" and one.parent is not None:
        if not one.parent.name:
            _named(one.parent)
        name = f"{one.parent.name}, step {one.facts.get('tune', {}).get('steps', '?')}"
    one.name = name or one.place.name or "unnamed"
    first = one.above()[0] if one.above() else None
    one.base_name = first.name if first is not None and first.kind == "base" else ""
