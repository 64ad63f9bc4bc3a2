"""Graders of reinforcement tuning, in the JSON of OpenAI's service: `load_grader(path).grade_all(pairs)`."""

from recert.labs.graders.grade import Grade
from recert.labs.graders.grader import Grader
from recert.labs.graders.loading import load_grader, make_grader
from recert.labs.graders.sample import Sample

__all__ = ["Grade", "Grader", "Sample", "load_grader", "make_grader"]
