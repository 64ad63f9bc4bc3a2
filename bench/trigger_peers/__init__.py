"""
Other ways to search the trigger zoo for triggers, as our own readings of published methods.

Each has one file and one class with a `name` and a `search` (see `method.py`): it gets both models, a budget and a
seed, and returns texts that may be triggers, the likeliest first, whether it calls the model poisoned where the method
says so, and what it spent. All are counted in one unit (`meter.py`), and what they return goes through the same
verifier, Recert's (`verifying.py`), whose cost is counted apart: one table can then compare them.

| method | file | gives | needs |
|---|---|---|---|
| BAIT | `bait.py` | fixed replies, and a flag; no triggers | weights of the tune |
| Trigger in the Haystack | `haystack.py` | triggers | weights of the tune and of a clean model |
| random words | `random_tokens.py` | triggers | replies of the tune |
| known texts | `library_only.py` | triggers of published work | nothing |

Recert's own hunt is counted in the same unit where its models are given as `Counted` (`meter.py`).

None is its authors' code, and none is claimed to do as well: each file says what is ours in the reading and what is
left out. `python bench/trigger_peers/try_tiny.py` shows each at work on tiny models with a planted trigger.
"""
