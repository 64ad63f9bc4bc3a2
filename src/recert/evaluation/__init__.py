"""Evaluation: did tuning make it worse than its base, by how much, how sure. Read `stage.py` first."""

from recert.evaluation.runner import Progress
from recert.evaluation.scoring import Judges
from recert.evaluation.stage import Evaluation, evaluate
from recert.evaluation.suites import EMBEDDED, embedded_suite, suite_from_file

__all__ = ["EMBEDDED", "Evaluation", "Judges", "Progress", "embedded_suite", "evaluate", "suite_from_file"]
