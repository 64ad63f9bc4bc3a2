"""
OpenAI's batch API: half the price, an answer within a day, and nothing lost when the wait is interrupted.

Requests go up as one file; the batch's id is kept in a file of ours before the waiting begins, under a digest of
the requests. The same questions asked again, after a kill or on another day, wait for that batch and pay nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp

from recert.digest import canonical_json, sha256_bytes
from recert.errors import EndpointError, RecordError
from recert.models.protocol import Done, Generation, Sampling
from recert.models.remote.endpoint import EndpointModel, run
from recert.records.data.suite import Chat
from recert.records.record import parse_json
from recert.store.files.writing import read_bytes, write_atomic

MOST_REQUESTS: Final = 50_000
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
_LARGEST_FILE_BYTES: Final = 600_000_000
_LONGEST_POLL_S: Final = 60.0


class BatchEndpointModel(EndpointModel):
    """
    A model whose replies are made through `/files` and `/batches`.

    Args:
        url: where the API begins.
        model: the name sent as `model`.
        state: file in which ids of batches are kept; made where it is not there.
        poll_s: seconds between two looks at first; it grows to a minute.
        most_wait_s: how long to wait for one batch; by default as long as it takes.
        more: as `EndpointModel` takes it.

    Raises:
        InputError: the address cannot be used.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        state: Path,
        poll_s: float = 5.0,
        most_wait_s: float | None = None,
        **more: Any,
    ) -> None:
        super().__init__(url, model, **more)
        self.engine = f"endpoint-batch/{self._client.host}"
        self._state = state
        self._poll_s = poll_s
        self._most_wait_s = most_wait_s

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order, once the batch has ended. `done` is ignored.

        Raises:
            EndpointError: the batch failed, or rows of it did; `made` holds the others. Asked again, only
                what is missing is sent, as far as the caller keeps what was made.
            StoreError: the file of ids cannot be read or written.
        """
        made: dict[int, Generation] = {}
        for start in range(0, len(chats), MOST_REQUESTS):
            some = chats[start : start + MOST_REQUESTS]
            try:
                made |= {start + i: g for i, g in run(self._ask_batch(some, sampling)).items()}
            except EndpointError as exc:
                exc.made = made | {start + i: g for i, g in exc.made.items()}
                raise
        return [made[place] for place in range(len(chats))]

    async def _ask_batch(self, chats: Sequence[Chat], sampling: Sampling) -> dict[int, Generation]:
        lines = [
            canonical_json(
                {
                    "custom_id": str(place),
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": self._body(one, sampling),
                }
            )
            for place, one in enumerate(chats)
        ]
        requests = b"\n".join(lines)
        digest = sha256_bytes(requests)
        async with self._client.session() as session:
            known = self._known()
            if digest not in known:
                self._within_budget(chats, sampling)
                known[digest] = await self._submit(session, requests)
                self._remember(known)
            batch = await self._wait(session, known[digest])
            answers = await self._answers(session, batch)
        made, failures = self._sort(answers, len(chats))
        if failures or batch.get("status") != "completed":
            self._remember(
                {k: v for k, v in self._known().items() if k != digest}
            )  # asked again, it is sent again
            failed = self._client.error(
                "batch did not answer every row",
                hint="run the same command again: only the rows that are missing are sent",
                model=self.name,
                batch=batch.get("id"),
                status=batch.get("status"),
                rows=len(chats),
                answered=len(made),
                first_failure=next(iter(failures.values()), _reason(batch)),
            )
            failed.made = made
            raise failed
        return made

    def _within_budget(self, chats: Sequence[Chat], sampling: Sampling) -> None:
        sizes = [self._expected(one, sampling) for one in chats]
        expected = sum(prompt for prompt, _ in sizes), sum(reply for _, reply in sizes)
        if not self.spending.begin(*expected):
            raise self._over_budget()
        self.spending.end(expected, None)

    async def _submit(self, session: aiohttp.ClientSession, requests: bytes) -> str:
        def form() -> aiohttp.FormData:
            data = aiohttp.FormData()
            data.add_field("purpose", "batch")
            data.add_field("file", requests, filename="requests.jsonl", content_type="application/jsonl")
            return data

        file = self._json(await self._client.send(session, "POST", "/files", data=form, parse=True))
        body = {
            "input_file_id": self._id(file),
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        return self._id(await self._client.ask(session, "/batches", body))

    async def _wait(self, session: aiohttp.ClientSession, batch_id: str) -> Mapping[str, Any]:
        pause_s, waited_s = self._poll_s, 0.0
        while True:
            batch = self._json(await self._client.send(session, "GET", f"/batches/{batch_id}", parse=True))
            if batch.get("status") in _ENDED:
                return batch
            if self._most_wait_s is not None and waited_s >= self._most_wait_s:
                raise self._client.error(
                    "batch has not ended yet",
                    hint="run the same command again later: it goes on waiting for the same batch",
                    model=self.name,
                    batch=batch_id,
                    status=batch.get("status"),
                )
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 1.5, max(_LONGEST_POLL_S, self._poll_s))

    async def _answers(
        self, session: aiohttp.ClientSession, batch: Mapping[str, Any]
    ) -> list[Mapping[str, Any]]:
        found = []
        for name in ("output_file_id", "error_file_id"):
            if batch.get(name):
                path = f"/files/{batch[name]}/content"
                data = await self._client.send(session, "GET", path, most_bytes=_LARGEST_FILE_BYTES)
                found += [self._json(line) for line in data.splitlines() if line.strip()]
        return found

    def _sort(
        self, answers: Sequence[Mapping[str, Any]], rows: int
    ) -> tuple[dict[int, Generation], dict[int, str]]:
        """What was made, and why the rest was not, by place. A row answered twice or never is a failure."""
        by_row: dict[str, list[Mapping[str, Any]]] = {}
        for answer in answers:
            by_row.setdefault(str(answer.get("custom_id")), []).append(answer)
        made: dict[int, Generation] = {}
        failures: dict[int, str] = {}
        for place in range(rows):
            found = by_row.get(str(place), [])
            try:
                if len(found) != 1:
                    failures[place] = f"{len(found)} answers in the batch's files"
                elif (found[0].get("response") or {}).get("status_code") != 200:
                    failures[place] = _row_error(found[0])
                else:
                    made[place], used = self.read(found[0]["response"]["body"], (0, 0))
                    self.spending.end((0, 0), used)
            except EndpointError as exc:
                failures[place] = exc.message
            except (LookupError, TypeError, AttributeError):
                failures[place] = "answer of another form"
        return made, failures

    def _known(self) -> dict[str, str]:
        if not self._state.exists():
            return {}
        try:
            known: dict[str, str] = json.loads(read_bytes(self._state, "ids of batches"))
            return {str(k): str(v) for k, v in known.items()}
        except (ValueError, AttributeError) as exc:
            raise RecordError(
                "file of batch ids cannot be understood",
                facts={"file": self._state},
                hint="move it away: batches under way are then paid for again",
            ) from exc

    def _remember(self, known: Mapping[str, str]) -> None:
        write_atomic(self._state, canonical_json(dict(known)), mode=0o600)

    def _json(self, data: bytes) -> Mapping[str, Any]:
        try:
            value = parse_json(data)
        except RecordError as exc:
            raise self._client.error("endpoint's reply is not JSON", model=self.name) from exc
        if not isinstance(value, dict):
            raise self._client.error("endpoint's reply is not a JSON object", model=self.name)
        return value

    def _id(self, value: Any) -> str:
        found = value.get("id") if isinstance(value, dict) else None
        if not isinstance(found, str) or not found.replace("-", "").replace("_", "").isalnum():
            raise self._client.error("endpoint gave no id", model=self.name)
        return found


def _reason(batch: Mapping[str, Any]) -> str:
    errors = batch.get("errors") or {}
    data = errors.get("data") if isinstance(errors, dict) else None
    first = data[0] if isinstance(data, list) and data else {}
    return str(first.get("message", "") if isinstance(first, dict) else "")[:200]


def _row_error(answer: Mapping[str, Any]) -> str:
    error = answer.get("error") or answer["response"]["body"]["error"]
    return str(error["message"] if isinstance(error, dict) else error)[:200]
