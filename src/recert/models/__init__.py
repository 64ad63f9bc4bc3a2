"""The only code that loads weights or calls an endpoint. Torch is imported by `recert.models.engines.local` alone."""

from recert.models.protocol import Done, Generation, Model, Sampling
from recert.models.scripted import ScriptedModel

__all__ = ["Done", "Generation", "Model", "Sampling", "ScriptedModel"]
