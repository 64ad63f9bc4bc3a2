"""
Transparency: what was signed is in a log that many can look at (`spec/transparency-log.md`).

`logged.py` appends and signs, `proving.py` makes proofs, `checking.py` decides about them, `memory.py` keeps what a
verifier saw.
"""
