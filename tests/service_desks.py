"""A tuning service in this process, without a worker, for what needs none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from recert.service.api.app import make_app
from recert.service.settings import ServiceSettings
from recert.service.stage import prepare_service
from tuning_services import Service


def settings_of(made: Service, **changes: Any) -> ServiceSettings:
    """Return what a service is told, on a base that is not loaded."""
    fields: dict[str, Any] = {
        "folder": made.served,
        "base": str(made.base),
        "base_dir": made.base,
        "called": "tiny",
        "policy": str(made.folder / "policy.toml"),
        "signers": made.folder / "signers",
        "status": made.served / "status.json",
        "defence": "none",
        "free_bytes": 0,
    }
    return ServiceSettings(**(fields | changes))


class Desked:
    """A desk, and a client that asks it over ASGI."""

    def __init__(self, folder: Path, *, few: int | None = None, **changes: Any) -> None:
        self.service = Service(folder, folder / "base")
        self.few = self.service.new_key("team-few", requests_per_minute=few)
        server = prepare_service(
            settings_of(self.service, **changes), keys_file=folder / "keys.json", workers=False
        )
        server.close()
        self.desk = server.desk
        self.http = TestClient(make_app(self.desk), raise_server_exceptions=False)
        self.headers = {"authorization": f"Bearer {self.service.key}"}

    def upload(self, data: bytes, name: str = "rows.jsonl", **more: Any) -> Any:
        """Upload a file."""
        headers = self.headers | more.pop("headers", {})
        form = {"purpose": "fine-tune"} | more
        return self.http.post("/v1/files", files={"file": (name, data)}, data=form, headers=headers)

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """Ask as the project's key."""
        return self.http.request(method, path, headers=self.headers | more.pop("headers", {}), **more)
