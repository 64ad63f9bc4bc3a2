"""Judges: text in, `Score` or `JudgeFailed` out. They never decide."""
