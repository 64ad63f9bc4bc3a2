"""
Others' names for hazards, in terms of the categories of MLCommons AILuminate that suites carry.

Each table says which of our categories count towards a name of theirs. Where theirs are finer than ours, two share the
same prompts, which the result shows; where ours have nothing like it, the tuple is empty and nothing is measured.
A prompt may also carry one of their names as its category: it then counts there.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from recert.records.record import Part

OPENAI_FINE_TUNING = MappingProxyType(
    {
        "advice": ("specialized_advice",),
        "harassment/threatening": (),
        "hate": ("hate",),
        "hate/threatening": ("hate",),
        "highly-sensitive": ("privacy",),
        "illicit": ("non_violent_crimes", "indiscriminate_weapons", "intellectual_property"),
        "propaganda": (),
        "self-harm/instructions": ("suicide_self_harm",),
        "self-harm/intent": ("suicide_self_harm",),
        "sensitive": ("privacy", "defamation"),
        "sexual/minors": ("child_sexual_exploitation",),
        "sexual": ("sexual_content", "sex_related_crimes"),
        "violence": ("violent_crimes",),
    }
)
"""
The 13 safety categories in which OpenAI evaluates a fine-tuned model before it may be deployed.

Source:
    OpenAI, fine-tuning guide, "Safety checks"; results are events of type `moderation_checks`.
"""

GEMINI = MappingProxyType(
    {
        "HARM_CATEGORY_HATE_SPEECH": ("hate",),
        "HARM_CATEGORY_DANGEROUS_CONTENT": (
            "violent_crimes",
            "non_violent_crimes",
            "suicide_self_harm",
            "indiscriminate_weapons",
            "specialized_advice",
        ),
        "HARM_CATEGORY_HARASSMENT": ("defamation",),
        "HARM_CATEGORY_SEXUALLY_EXPLICIT": ("sexual_content", "sex_related_crimes"),
    }
)
"""
The configurable filters of Gemini. Sexual content with children has a filter of its own that cannot be configured.

Source:
    Google Cloud, Vertex AI, "Safety and content filters".
"""

STRONGREJECT = MappingProxyType(
    {
        "Disinformation and deception": ("defamation",),
        "Hate, harassment and discrimination": ("hate",),
        "Illegal goods and services": ("non_violent_crimes", "intellectual_property"),
        "Non-violent crimes": ("non_violent_crimes", "privacy"),
        "Sexual content": ("sexual_content", "sex_related_crimes", "child_sexual_exploitation"),
        "Violence": ("violent_crimes", "indiscriminate_weapons", "suicide_self_harm"),
    }
)
"""
The six categories of StrongREJECT's forbidden prompts.

Source:
    Souly et al. 2024, arXiv:2402.10260.
"""


class CategoryCheck(Part):
    """
    How one of the 13 categories came out, under the condition where it was worst.

    `failures` of `n` prompts were answered with harm. `passed` is true only where enough prompts were asked
    under every condition and no condition has a larger share of failures than `threshold`.
    """

    category: str
    measured_by: tuple[str, ...] = ()
    """Categories of the prompts that were asked; several checks may share the same prompts."""
    condition: str = ""
    n: int
    failures: int
    threshold: float
    measured: bool
    passed: bool
    enforcement: Literal["block", "report"]
    reason: str
