"""Graders of reinforcement tuning, in the JSON of OpenAI's service: `load_grader(path).grade_all(pairs)`."""

from recert.judges.graders.grade import Grade
from recert.judges.graders.grader import Grader
from recert.judges.graders.loading import load_grader, make_grader
from recert.judges.graders.sample import Sample

__all__ = ["Grade", "Grader", "Sample", "load_grader", "make_grader"]
