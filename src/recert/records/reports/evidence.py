"""What other tools found, as an evaluation names it beside its own measurements."""

from __future__ import annotations

from recert.records.data.manifest import Sha256
from recert.records.record import Part


class EvidenceNote(Part):
    """
    Results of another tool, named by their file. It decides nothing: it stands among the reasons of a report.

    Nobody here has seen the tool at work: `model_name` is what its file says, and no weights are bound to it unless
    `manifest_sha256` says which.
    """

    tool: str
    version: str = ""
    """The tool's version as its file gives it; empty where it does not."""
    source_sha256: Sha256
    """Digest of the tool's own file."""
    model_name: str = ""
    """The model as the tool's file names it."""
    n: int
    """Replies or pairs that the note speaks of, or what `counts` names."""
    counts: str | None = None
    """What `n` counts where that is no replies: `files` for a signature."""
    manifest_sha256: Sha256 | None = None
    """Of the files that the tool bound, which are the base's; None where it bound none."""
    says: str
    """What was found, and what could not be read or mapped, in words."""

    @property
    def reason(self) -> str:
        """The note as a line among a report's reasons."""
        tool, counts = f"{self.tool} {self.version}".strip(), self.counts or "replies"
        return f"evidence of {tool} on {self.n} {counts}: {self.says}"
