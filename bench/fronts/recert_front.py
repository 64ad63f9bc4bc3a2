"""Recert's gateway as a process: certified, rechecked and audited as in production. Prints its URL."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from fronts.certified import make_certified
from fronts.client import KEY
from fronts.upstream import PHRASES
from recert.gateway.access.keys import ApiKeys
from recert.gateway.audio.transcriber_choice import TranscriberChoice
from recert.gateway.serving.edge_config import EdgeConfig
from recert.gateway.stage import prepare
from recert.gateway.upstream.client import UnsafeDeclaredUpstream
from recert.models.chat.secret import SecretPrefix
from recert.store.audit.log import AuditLog


def main() -> None:
    """Serve until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("upstream", help="URL of what runs the model")
    parser.add_argument("folder", type=Path, help="an empty folder for the model, the keys and the audit log")
    parser.add_argument("--classifier", action="store_true", help="let the embedded judge see requests too")
    parser.add_argument("--secret", type=Path, help="file with the secret; by default a new one")
    parser.add_argument(
        "--allow", action="append", default=[], help="what requests may ask for beyond plain chat"
    )
    parser.add_argument("--guardrail", action="store_true", help="answer LiteLLM's guardrail requests")
    parser.add_argument("--transcriber", default="", help="who hears what is spoken, such as whisper-tiny")
    parser.add_argument("--upstream-timeout-s", type=float, default=120.0)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    judge = None
    if given.classifier:
        from recert.judges.embedded.request import EmbeddedRequestJudge

        judge = EmbeddedRequestJudge()
    secret = SecretPrefix.read(given.secret) if given.secret else SecretPrefix.generate()
    settings = {"upstream_timeout_s": given.upstream_timeout_s, "allow": tuple(given.allow)}
    if given.transcriber:
        settings["audio"] = {"passes_on": "clip", "timeout_s": 60}
    certified = make_certified(given.folder, PHRASES, secret, **settings)
    with AuditLog(given.folder / "audit.jsonl") as audit:
        server = prepare(
            certified.verified,
            recheck=certified.recheck,
            policy=certified.policy,
            audit=audit,
            secret=certified.secret,
            request_judge=judge,
            transcriber=TranscriberChoice(given.transcriber) if given.transcriber else None,
            upstream=UnsafeDeclaredUpstream(given.upstream),
            keys=ApiKeys([KEY]),
            front=EdgeConfig(guardrail=given.guardrail),
        )
        print(server.url, flush=True)
        server.run()


if __name__ == "__main__":
    main()
