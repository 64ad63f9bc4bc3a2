"""Evaluation: did tuning make it worse than its base, by how much, how sure. Read `stage.py` first."""

from recert.evaluation.capability import choose
from recert.evaluation.derive import Derived, derive
from recert.evaluation.hierarchy import hierarchy_suite
from recert.evaluation.inspect_tasks import suite_from_inspect
from recert.evaluation.overlap import overlap
from recert.evaluation.public_sets import PUBLIC_SETS
from recert.evaluation.public_suites import public_suite
from recert.evaluation.runner import Progress
from recert.evaluation.scoring import Judges
from recert.evaluation.stage import Evaluation, evaluate
from recert.evaluation.suites import EMBEDDED, embedded_suite, suite_from_file
from recert.evaluation.underived import why_certificate_not_derived, why_not_derived

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
