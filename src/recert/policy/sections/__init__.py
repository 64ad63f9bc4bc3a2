"""The parts of a policy: one file a section of the policy file."""
