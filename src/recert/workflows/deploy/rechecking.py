"""A certificate, its status list, its refusals and its files, looked at again while the model is served."""

from __future__ import annotations

from pathlib import Path

from recert.certification import Presented, Verifier
from recert.errors import VerificationError
from recert.records.signed.certificate import VerifiedCertificate

_Look = tuple[tuple[str, int, int, int, int], ...]


class Recheck:
    """
    Verifies again: every step each time, and the files are hashed anew only where something on disk has changed.

    Args:
        verified: what was verified before the start.
        certificate: its file.
        verifier: the one that verified it; it reads trusted keys and the status list as they are now.
    """

    def __init__(self, verified: VerifiedCertificate, *, certificate: Path, verifier: Verifier) -> None:
        self._verified = verified
        self._certificate = certificate
        self._verifier = verifier
        self._looked = self._look()

    def __call__(self) -> VerifiedCertificate:
        """
        Return the certificate that holds now.

        Raises:
            RecertError: none does; whatever it is, service stops.
        """
        presented = Presented.read(self._certificate, policy=self._verifier.policy)
        looked = self._look()
        if looked == self._looked:
            self._verified = self._verifier.recheck(presented, self._verified)
        else:
            self._verified = self._verifier.verify(
                presented, base_dir=self._verified.base_dir, tuned_dir=self._verified.tuned_dir
            )
            self._looked = looked
        return self._verified

    def _look(self) -> _Look:
        """How every file looks; a change of time that was put back shows in the inode's."""
        folders = (self._verified.base_dir, self._verified.tuned_dir)
        try:
            paths = sorted(p for folder in folders for p in folder.rglob("*"))
            seen = [(str(p), p.lstat()) for p in paths]
        except OSError as exc:
            raise VerificationError(
                "file-missing", "a file of the model cannot be looked at", facts={"because": exc}
            ) from exc
        return tuple((name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in seen)
