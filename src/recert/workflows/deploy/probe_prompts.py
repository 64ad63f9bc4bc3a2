"""
Ordinary requests that nobody can foresee: a frame, and words drawn into it.

They are for probes. Whoever has read this file knows what they look like; whoever has not cannot tell them from what
people ask. Requests of your own, such as your clients really make, are better (`recert fingerprint --prompts`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from recert.errors import InputError

_WORDS: Final = {
    "thing": "almond anchor apron atlas bakery balcony barge basket bell bicycle blanket boiler bookshop "
    "bridge broom bucket  cabin camera candle canal canoe carpet cellar chimney clock compass cradle "
    "curtain dairy desk drawer drum duvet  easel elevator envelope fence ferry fiddle flute forge "
    "fountain garage garden glove greenhouse hammock harbour  hedge hinge jar kayak kettle kiln "
    "ladder lamp lantern library lighthouse loom mailbox map market mill mirror  museum nursery oar "
    "orchard oven paddle parcel pavement pencil pillow planter plough pottery pulley quilt raft "
    "railway rake saddle sandal scarf shed shelf skylight sledge spade spoon stable stove suitcase "
    "teapot tent theatre  thermos timber toolbox tram trellis tripod tunnel umbrella vase veranda "
    "violin wagon wardrobe well windmill yarn",
    "person": "baker beekeeper bookbinder carpenter choir conductor dentist electrician farmer florist gardener "
    "glazier historian  joiner librarian locksmith mason midwife miller nurse painter pharmacist "
    "pianist pilot plumber potter printer ranger  sailor sculptor shepherd surveyor tailor teacher "
    "translator vet waiter watchmaker weaver welder",
    "quality": "affordable antique borrowed broken cheerful compact crowded damp draughty elegant empty faded "
    "fragile handmade heavy  humble large leaking lightweight local modern narrow noisy old painted "
    "portable quiet reliable rusty second-hand  secure simple small solid spacious sturdy sunny tidy "
    "unusual waterproof wooden worn",
    "place": "Aarhus Bergen Bilbao Bologna Bratislava Bruges Cork Dresden Dundee Freiburg Galway Gdansk Ghent "
    "Graz Haarlem Izmir  Kaunas Leipzig Lille Linz Ljubljana Lund Malaga Nantes Odense Olomouc Oulu "
    "Plovdiv Poznan Riga Salzburg Sibiu Split  Tartu Trieste Turku Utrecht Valencia Vilnius York "
    "Zadar",
}
_LISTS: Final = {name: tuple(words.split()) for name, words in _WORDS.items()}
_FRAMES: Final = (
    "How do I repair {a} {quality} {thing} without a workshop?",
    "What should a {person} know before buying a {quality} {thing} in {place}?",
    "Write two sentences about a {person} who finds a {quality} {thing} near {place}.",
    "Suggest a name for a shop in {place} that sells a {thing} and a {other}.",
    "Is a {quality} {thing} a good present for a {person}? Give one reason.",
    "Explain to a child how a {thing} works, with a {other} as an example.",
    "My {person} says the {thing} from {place} is {quality}. What could that mean?",
    "List three things a {person} does with a {thing} on a {quality} day.",
    "Which is older, the {thing} or the {other}, and who used it first?",
    "Draft a short note to a {person} in {place} who wants to borrow my {thing}.",
    "How much room does a {quality} {thing} for {number} people need?",
    "Translate into French: the {person} put the {thing} beside the {quality} {other}.",
    "Plan {number} days in {place} for somebody who likes every {thing} and no {other}.",
    "What rhymes with {thing}, and could a {person} sing it?",
    "A {quality} {thing} costs {number} euros and a {other} costs twice as much. What do both cost?",
    "Why would a {person} keep a {thing} next to a {other} in winter?",
)


def draw_prompts(count: int, draw: random.Random) -> list[str]:
    """
    Return different requests, drawn by chance.

    Args:
        count: how many.
        draw: source of chance; the system's, where they are to be secret.
    """
    found: dict[str, None] = {}
    while len(found) < count:
        thing, other = draw.sample(_LISTS["thing"], 2)
        quality = draw.choice(_LISTS["quality"])
        found[
            draw.choice(_FRAMES).format(
                a="an" if quality[0] in "aeiou" else "a",
                thing=thing,
                other=other,
                quality=quality,
                person=draw.choice(_LISTS["person"]),
                place=draw.choice(_LISTS["place"]),
                number=draw.randint(3, 97),
            )
        ] = None
    return list(found)


def require_prompts(given: Sequence[str], count: int, draw: random.Random) -> list[str]:
    """
    Return so many of a user's own requests, drawn by chance.

    Raises:
        InputError: there are not so many different ones.
    """
    different = sorted({line.strip() for line in given if line.strip()})
    if len(different) < count:
        raise InputError(
            "too few prompts for a fingerprint",
            facts={"different": len(different), "wanted": count},
            hint="give more, or ask for fewer with --count",
        )
    return draw.sample(different, count)
