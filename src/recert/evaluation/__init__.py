"""Evaluation: did tuning make it worse than its base, by how much, how sure. Read `stage.py` first."""

from recert.evaluation.capability import choose
from recert.evaluation.decision.derive import Derived, derive
from recert.evaluation.decision.underived import why_certificate_not_derived, why_not_derived
from recert.evaluation.runner import Progress
from recert.evaluation.scoring import Judges
from recert.evaluation.stage import Evaluation, evaluate
from recert.evaluation.suites.hierarchy import hierarchy_suite
from recert.evaluation.suites.inspect_tasks import suite_from_inspect
from recert.evaluation.suites.overlap import overlap
from recert.evaluation.suites.public_sets import PUBLIC_SETS
from recert.evaluation.suites.public_suites import public_suite
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite, suite_from_file

__all__ = [
    "EMBEDDED",
    "PUBLIC_SETS",
    "Derived",
    "Evaluation",
    "Judges",
    "Progress",
    "choose",
    "derive",
    "embedded_suite",
    "evaluate",
    "hierarchy_suite",
    "overlap",
    "public_suite",
    "suite_from_file",
    "suite_from_inspect",
    "why_certificate_not_derived",
    "why_not_derived",
]
