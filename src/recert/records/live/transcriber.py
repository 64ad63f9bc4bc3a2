"""What listened where requests were spoken: a transcriber's files, and how it decodes."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from recert.records.data.manifest import Manifest


class EarsManifest(Manifest):
    """
    Every file of a transcriber that stood before a text model, what ran it, and how it decoded.

    The text model's own manifest says nothing of it: the same model behind other ears is asked other words.
    """

    schema_name: ClassVar[str] = "ears"

    engine: str = Field(min_length=1)
    """What ran the files, with version and precision."""
    decoding: dict[str, str]
    """Settings that decide which words come out, each as JSON."""

    def differences(self, other: Manifest) -> tuple[str, ...]:
        """
        Say in words how `other` (what is there) differs from these ears (what was certified).

        Empty when they are the same.
        """
        said = list(super().differences(other))
        if not isinstance(other, EarsManifest):
            return (*said, "engine differs: nothing is known of it")
        if self.engine != other.engine:
            said.append(f"engine differs: certified {self.engine}, on disk {other.engine}")
        said += [
            f"setting differs: {name}: certified {self.decoding.get(name, 'none')}, "
            f"on disk {other.decoding.get(name, 'none')}"
            for name in sorted({*self.decoding, *other.decoding})
            if self.decoding.get(name) != other.decoding.get(name)
        ]
        return tuple(said)
