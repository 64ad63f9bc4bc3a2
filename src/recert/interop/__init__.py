"""
What other tools can read of an evaluation, and what an evaluation can take from them.

`import_results` reads what another tool measured, `paired_change` compares two such results, `export` writes an
evaluation in the formats that people use, and `frames` gives it as a table. Read `folder.py` first.
"""
