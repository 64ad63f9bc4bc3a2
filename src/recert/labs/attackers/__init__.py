"""Attackers that converse: what they say, how conversations run, and who marks the replies."""

from recert.labs.attackers.items import chosen, embedded_items, load_items
from recert.labs.attackers.panel import HarmPanel
from recert.labs.attackers.protocol import Attacker, AttackProtocol, Move, View
from recert.labs.attackers.running import AttackBudget, AttackRun
from recert.labs.attackers.sides import Side
from recert.labs.attackers.strategies.naming import ATTACKERS, attacker_named
from recert.labs.attackers.strategies.replay import read_conversations
from recert.labs.attackers.turn_file import TurnFile

__all__ = [
    "ATTACKERS",
    "AttackBudget",
    "AttackProtocol",
    "AttackRun",
    "Attacker",
    "HarmPanel",
    "Move",
    "Side",
    "TurnFile",
    "View",
    "attacker_named",
    "chosen",
    "embedded_items",
    "load_items",
    "read_conversations",
]
