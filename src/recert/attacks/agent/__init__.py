"""Attackers that converse: what they say, how conversations run, and who marks the replies."""

from recert.attacks.agent.items import chosen, embedded_items, load_items
from recert.attacks.agent.naming import ATTACKERS, attacker_named
from recert.attacks.agent.panel import HarmPanel
from recert.attacks.agent.protocol import Attacker, AttackProtocol, Move, View
from recert.attacks.agent.replay import read_conversations
from recert.attacks.agent.running import AttackBudget, AttackRun
from recert.attacks.agent.sides import Side
from recert.attacks.agent.turn_file import TurnFile

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
