"""What a model server may load: folders that a certificate names, hashed before and looked at after and ever since."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from recert.certification.verifier.folders import require_same
from recert.digest import sha256_bytes
from recert.errors import GatewayError, RecertError, VerificationError
from recert.interop.attestation.attest import Arm, likeliest, manifest_of
from recert.interop.attestation.holding import CertificateFiles, Held
from recert.records.data.manifest import Manifest
from recert.store.files.private_copy import look_at

HASHED: Final = "RECERT_HASHED"
_LOOK_S: Final = 2.0


class Guard:
    """
    Lets certified folders through, each hashed once, and ends everything when one is touched or a certificate ends.

    Args:
        files: the certificates.
        end: called with what went wrong, from a thread; does not come back.

    Raises:
        VerificationError: a certificate does not hold.
        RecertError: something cannot be read.
    """

    def __init__(self, files: CertificateFiles, end: Callable[[BaseException], None]) -> None:
        self._files = files
        self._end = end
        self.held = files.read()
        self._hashed: dict[str, tuple[Manifest, str]] = {}
        self._watching = False
        self._parent = os.getppid() if HASHED in os.environ else 0
        self._lock = threading.RLock()

    def require_served(self, folder: str | os.PathLike[str]) -> Path:
        """
        Return the real path of the folder that a server runs on: merged weights, or the base that adapters lie on.

        Raises:
            VerificationError: no certificate names exactly these files.
            InputError: there is no such folder.
        """
        return self._require(folder, [(one, "base" if is_adapter(one) else "tuned") for one in self.held])

    def require_adapter(self, folder: str | os.PathLike[str]) -> Held:
        """
        Return the certificate of an adapter's folder.

        Raises:
            VerificationError: no certificate names exactly these files, or it names another base than is loaded.
            InputError: there is no such folder.
        """
        adapters = [one for one in self.held if is_adapter(one)]
        place = self._require(folder, [(one, "tuned") for one in adapters])
        manifest = self._hashed[str(place)][0]
        loaded = {found.digest for found, _ in self._hashed.values()}
        for one in adapters:
            if one.certificate.tuned == manifest and one.certificate.base.digest in loaded:
                return one
        raise VerificationError(
            "file-differs",
            "adapter is certified on another base than is loaded",
            facts={"adapter": place},
            hint="serve it on the base that its certificate names",
        )

    def still(self) -> None:
        """
        Return when no folder was touched since it was hashed.

        Raises:
            VerificationError: `files-changed`.
        """
        for folder, (_, seen) in list(self._hashed.items()):
            if _look(Path(folder)) != seen:
                raise VerificationError(
                    "files-changed",
                    "model files were touched after they were verified",
                    facts={"folder": folder},
                )

    def hand_over(self) -> None:
        """
        Tell the processes that this one starts, in `RECERT_HASHED`, what was hashed and how it looked.

        They need only look, where a large model would be hashed once for each of them.
        """
        os.environ[HASHED] = json.dumps(
            {folder: [manifest.digest, seen] for folder, (manifest, seen) in self._hashed.items()}
        )

    def watch(self) -> None:
        """Look again and again, in a thread: at the files, the certificates, the status list and the clock."""
        with self._lock:
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="recert-guard", daemon=True).start()

    def _watch(self) -> None:
        pause = threading.Event()
        serials = [one.certificate.serial for one in self.held]
        while not pause.wait(_LOOK_S):
            try:
                if self._parent and os.getppid() != self._parent:
                    raise RecertError("the process that started this one has ended")
                self.still()
                for one, was in zip(self._files.read(), self.held, strict=True):
                    if (one.certificate.base, one.certificate.tuned) != (
                        was.certificate.base,
                        was.certificate.tuned,
                    ):
                        raise VerificationError(
                            "system-changed",
                            "the certificate is now for another model",
                            facts={"serials": ", ".join(serials)},
                        )
            except BaseException as exc:
                self._end(exc)

    def _require(self, folder: str | os.PathLike[str], choices: Sequence[tuple[Held, Arm]]) -> Path:
        place = Path(folder).resolve()
        if not choices:
            raise VerificationError(
                "file-differs",
                "no certificate is about an adapter",
                facts={"folder": place},
                hint="certify the adapter, and name its certificate in RECERT_CERTIFICATE",
            )
        with self._lock:
            if str(place) not in self._hashed:
                self._hashed[str(place)] = self._known(place, choices) or self._hash(place)
            manifest = self._hashed[str(place)][0]
        if not any(manifest_of(one.certificate, arm) == manifest for one, arm in choices):
            one, arm = likeliest(choices, place)
            require_same({arm: manifest_of(one.certificate, arm)}, {arm: Manifest.of_folder(place)})
            raise VerificationError("files-changed", "model files changed meanwhile", facts={"folder": place})
        return place

    def _hash(self, place: Path) -> tuple[Manifest, str]:
        seen = _look(place)
        manifest = Manifest.of_folder(place)
        if _look(place) != seen:
            raise VerificationError(
                "files-changed", "model files were touched while they were hashed", facts={"folder": place}
            )
        return manifest, seen

    def _known(self, place: Path, choices: Iterable[tuple[Held, Arm]]) -> tuple[Manifest, str] | None:
        """What the process that started this one hashed, where the folder looks as it did then."""
        try:
            digest, seen = json.loads(os.environ.get(HASHED, "{}"))[str(place)]
        except (ValueError, LookupError, TypeError):
            return None
        named = {m.digest: m for m in (manifest_of(one.certificate, arm) for one, arm in choices)}
        return (named[digest], seen) if digest in named and _look(place) == seen else None


def refused(message: str, *, hint: str = "", **facts: object) -> GatewayError:
    """Return the error for a server that would not run as its certificate says."""
    return GatewayError("not-as-certified", message, facts=facts, hint=hint)


def is_adapter(held: Held) -> bool:
    """Say whether a certificate is about an adapter rather than whole weights."""
    return held.certificate.delta_kind == "lora-adapter"


def _look(folder: Path) -> str:
    try:
        return sha256_bytes(repr(sorted(look_at(folder).items())).encode())
    except OSError as exc:
        raise RecertError("cannot look at model files", facts={"folder": folder, "because": exc}) from exc
