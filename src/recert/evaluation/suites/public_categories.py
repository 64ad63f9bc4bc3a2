"""
What public sets call their categories, by the names of MLCommons AILuminate (`recert.records.data.suite.CATEGORIES`).

Only where the two mean the same hazard. A category of a set that AILuminate has no name for, such as
disinformation, stays under the set's own word: it is counted apart, and never under a hazard it is not.
"""

from __future__ import annotations

from typing import Final

STRONGREJECT: Final = {
    "Hate, harassment and discrimination": "hate",
    "Illegal goods and services": "non_violent_crimes",
    "Non-violent crimes": "non_violent_crimes",
    "Sexual content": "sexual_content",
    "Violence": "violent_crimes",
}

HARMBENCH: Final = {
    "chemical_biological": "indiscriminate_weapons",
    "copyright": "intellectual_property",
    "cybercrime_intrusion": "non_violent_crimes",
    "harassment_bullying": "hate",
    "illegal": "non_violent_crimes",
}

JAILBREAKBENCH: Final = {
    "Economic harm": "non_violent_crimes",
    "Expert advice": "specialized_advice",
    "Fraud/Deception": "non_violent_crimes",
    "Harassment/Discrimination": "hate",
    "Malware/Hacking": "non_violent_crimes",
    "Physical harm": "violent_crimes",
    "Privacy": "privacy",
    "Sexual/Adult content": "sexual_content",
}

XSTEST: Final = {"contrast_discr": "hate", "contrast_privacy": "privacy"}

OR_BENCH: Final = {
    "harassment": "hate",
    "hate": "hate",
    "illegal": "non_violent_crimes",
    "privacy": "privacy",
    "self-harm": "suicide_self_harm",
    "sexual": "sexual_content",
    "violence": "violent_crimes",
}

SIMPLE_SAFETY_TESTS: Final = {
    "Suicide, Self-Harm, and Eating Disorders": "suicide_self_harm",
    "Physical Harm": "violent_crimes",
    "Illegal and Highly Regulated Items": "non_violent_crimes",
    "Scams and Fraud": "non_violent_crimes",
    "Child Abuse": "child_sexual_exploitation",
}

DO_NOT_ANSWER: Final = {
    "Risks from leaking or inferring sensitive information (organization/gov)": "privacy",
    "Compromise privacy by leaking or inferring private information (person/individual)": "privacy",
    "Assisting illegal activities": "non_violent_crimes",
    "Social stereotypes and unfair discrimination": "hate",
    "Toxic language (hate speech)": "hate",
    "Adult Content": "sexual_content",
    "Mental Health or Overreliance Crisis": "suicide_self_harm",
    "Causing material harm by disseminating misinformation e.g. in medicine or law": "specialized_advice",
}

AILUMINATE: Final = {  # its own codes
    "cse": "child_sexual_exploitation",
    "dfm": "defamation",
    "hte": "hate",
    "ipv": "intellectual_property",
    "iwp": "indiscriminate_weapons",
    "ncr": "non_violent_crimes",
    "prv": "privacy",
    "spc_ele": "specialized_advice",
    "spc_fin": "specialized_advice",
    "spc_hlt": "specialized_advice",
    "spc_lgl": "specialized_advice",
    "src": "sex_related_crimes",
    "ssh": "suicide_self_harm",
    "sxc_prn": "sexual_content",
    "vcr": "violent_crimes",
}

_SORRY_BENCH: Final = (  # in the order of the set's codes, which count from 1
    ("Personal Insulting Words", "hate"),
    ("Social-group Insulting Words", "hate"),
    ("Threatening Words", "violent_crimes"),
    ("Lewd and Obscene Words", "sexual_content"),
    ("Libelous Words", "defamation"),
    ("Self-Harm", "suicide_self_harm"),
    ("Violent Crimes", "violent_crimes"),
    ("Harassment", "hate"),
    ("Sexual Crimes", "sex_related_crimes"),
    ("Property Crimes", "non_violent_crimes"),
    ("Public Order Crimes", "non_violent_crimes"),
    ("System Intrusion", "non_violent_crimes"),
    ("Malware Code Generation", "non_violent_crimes"),
    ("Fraud, Scams, and Deception", "non_violent_crimes"),
    ("Financial Crimes", "non_violent_crimes"),
    ("Intellectual Property Infringement", "intellectual_property"),
    ("Personal Identifiable Information Violations", "privacy"),
    ("Illegal Crafting, Manufacturing, and Distribution", "non_violent_crimes"),
    ("Terrorism", "violent_crimes"),
    ("Child-related Crimes", "child_sexual_exploitation"),
    ("Animal-related Crimes", "violent_crimes"),
    ("Environmental Crimes", "non_violent_crimes"),
    ("Evasion of Law Enforcement", "non_violent_crimes"),
    ("Human Elimination & World Domination", "violent_crimes"),
    ("Advice on Adult Content", "sexual_content"),
    ("Sexual Explicit Content Generation", "sexual_content"),
    ("Non-sexual Explicit Content Generation", ""),
    ("Fake News Generation", ""),
    ("False Advertising", "non_violent_crimes"),
    ("Advice on Discrimination Behaviors", "hate"),
    ("Military Use", ""),
    ("Political Belief Promotion", ""),
    ("Ethical Belief Promotion", ""),
    ("Religion Promotion", ""),
    ("Social Stereotype Promotion", "hate"),
    ("Extremist Content Promotion", ""),
    ("Conspiracy Theories Promotion", ""),
    ("False Common Knowledge Promotion", ""),
    ("Harmful & Unhealthy Behaviors Promotion", ""),
    ("Medical Advice", "specialized_advice"),
    ("Financial Advice", "specialized_advice"),
    ("Legal Consulting Advice", "specialized_advice"),
    ("Governance Decision Advice", "specialized_advice"),
    ("Dangerous Machinery Operation Advice", "specialized_advice"),
)
SORRY_BENCH: Final = {name: hazard for name, hazard in _SORRY_BENCH if hazard}
SORRY_BENCH_CODES: Final = {str(code): name for code, (name, _) in enumerate(_SORRY_BENCH, 1)}
