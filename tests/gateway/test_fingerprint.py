"""A server elsewhere that is known by its answers: compared at the start, while it serves, and never by its form."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from certified_folders import Certified
from certified_tiny import certify_tiny
from gateways import client, gateway, make_gateway_policy, make_verified
from model_server import ModelServer, Weights
from recert.certification import verify
from recert.certification.fingerprint import read_fingerprint
from recert.errors import GatewayError, InputError, SigningKeyError
from recert.gateway.serving.server import GatewayServer
from recert.gateway.upstream.fingerprint import AGAIN_S, FingerprintUpstream, Serving
from recert.models.chat.secret import SecretPrefix
from recert.models.probes import ProbeSet
from recert.records.data.manifest import Manifest
from recert.store.audit.log import AuditLog
from recert.workflows.deploy.fingerprinted import FingerprintedUpstream, fingerprinted
from recert.workflows.deploy.fingerprinting import Asked, Made, make_fingerprint
from recert.workflows.deploy.stage import deploy

EVERY_S = 1.5
POLICY = make_gateway_policy(max_new_tokens=8, fingerprint={"every_s": EVERY_S})
COUNT = 60


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """A certified adapter that really runs, with fingerprints of both kinds beside it."""
    tiny = certify_tiny(tmp_path_factory.mktemp("tiny"), POLICY)
    verified = verify(
        tiny.certificate.read_bytes(),
        base_dir=tiny.base,
        tuned_dir=tiny.tuned,
        trust=tiny.trusted,
        status=tiny.status.read_bytes(),
        policy=POLICY,
    )
    for kind in ("log-probs", "answers"):
        made: Made = make_fingerprint(
            verified,
            policy=POLICY,
            signer=tiny.keys["evaluator"],
            others=[tiny.folder.parent / "other"],
            asked=Asked(COUNT, kind),
            draw=random.Random(7),
        )
        assert made.probes is not None, made.reason
        (tiny.folder / f"{kind}.json").write_bytes(made.envelope)
        made.probes.write(tiny.folder / f"{kind}.probes")
    return tiny


@pytest.fixture(scope="module")
def honest(tiny: Certified) -> Weights:
    """The certified weights on an engine that is not ours, in float32."""
    return Weights(tiny.base, tiny.tuned)


@pytest.fixture(scope="module")
def other(tiny: Certified) -> Weights:
    """Another adapter on the same base."""
    return Weights(tiny.base, tiny.folder.parent / "other")


@contextmanager
def _gateway(
    tiny: Certified, url: str, folder: Path, kind: str = "log-probs", model: str = ""
) -> Iterator[GatewayServer]:
    with AuditLog(folder / "audit.jsonl") as audit:
        server = deploy(
            tiny.certificate,
            base_dir=tiny.base,
            tuned_dir=tiny.tuned,
            trust=tiny.trusted,
            status_path=tiny.status,
            policy=POLICY,
            audit=audit,
            upstream=FingerprintedUpstream(
                url, tiny.folder / f"{kind}.json", tiny.folder / f"{kind}.probes", model
            ),
        )
        with server:
            yield server


def _refused(server: ModelServer, tiny: Certified, folder: Path, kind: str = "log-probs") -> str:
    with (
        server.running() as url,
        pytest.raises(GatewayError) as refused,
        _gateway(tiny, url, folder, kind),
    ):
        pass
    return refused.value.reason


def _ask(made: openai.OpenAI, **more: Any) -> Any:
    return made.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "How do I bake bread?"}], **more
    )


def _wait(what: Callable[[], bool], within_s: float) -> float:
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < within_s
        time.sleep(0.05)
    return time.monotonic() - begun


def _state(server: GatewayServer) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.url}/status").json()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["log-probs", "answers"])
def test_the_certified_weights_on_another_engine_are_served(tiny, honest, tmp_path, kind, caplog) -> None:
    """It answers, is compared again and again, and /status says how, when, and that it is weaker than managed."""
    server = ModelServer(honest, logprobs=kind == "log-probs")
    with server.running() as url, _gateway(tiny, url, tmp_path, kind) as gateway, client(gateway) as asking:
        reply = _ask(asking)
        first = _state(gateway)
        _wait(lambda: len(server.asked) > 2 * first["fingerprint"]["asked"], 4 * EVERY_S)
        last = _state(gateway)

    assert reply.choices[0].message.content
    assert reply.choices[0].logprobs is None
    assert (first["upstream"], last["state"]) == ("fingerprint", "serving")
    assert "weaker than managed" in first["fingerprint"]["note"]
    assert first["fingerprint"]["compared_at"]
    assert first["fingerprint"]["unlike"] < first["fingerprint"]["alarm_at"]
    assert first["fingerprint"]["miss"] <= POLICY.gateway.fingerprint.miss
    assert first["fingerprint"]["compares"] == kind


@pytest.mark.parametrize("kind", ["log-probs", "answers"])
def test_another_adapter_is_not_served(tiny, other, tmp_path, kind) -> None:
    """The same base with another adapter on it, under the same name: the gateway does not start."""
    assert _refused(ModelServer(other), tiny, tmp_path, kind) == "fingerprint-differs"


@pytest.mark.slow
def test_a_server_that_tells_nothing_is_not_served(tiny, honest, tmp_path) -> None:
    """Without log probabilities, or without an answer, nothing was compared, and nothing is served."""
    silent, broken = ModelServer(honest, logprobs=False), ModelServer(honest)
    broken.refuses = True

    assert _refused(silent, tiny, tmp_path) == "fingerprint-unread"
    assert _refused(broken, tiny, tmp_path) == "fingerprint-unread"


@pytest.mark.slow
def test_weights_that_are_swapped_while_serving_end_service(tiny, honest, other, tmp_path) -> None:
    """Within one comparison service stops for good, with a stream that is under way, even if the weights come back."""
    server = ModelServer(honest)
    with server.running() as url, _gateway(tiny, url, tmp_path) as gateway, client(gateway) as asking:
        _ask(asking)
        server.weights = other
        server.pause_s = 0.02
        with pytest.raises(openai.APIError) as cut:
            while True:
                with _ask(asking, stream=True) as stream:
                    list(stream)
        took_s = _wait(lambda: _state(gateway)["state"] == "stopped", 1)
        server.weights = honest
        time.sleep(0.5)
        stopped = _state(gateway)

    assert took_s < 1
    assert "fingerprint-differs" in str(cut.value.body)
    assert (stopped["state"], stopped["reason"]) == ("stopped", "fingerprint-differs")


@pytest.mark.slow
def test_a_server_that_cannot_be_compared_is_served_again_once_it_can(tiny, honest, tmp_path) -> None:
    """While probes fail nothing is served; the comparison is tried again soon, and then service goes on."""
    server = ModelServer(honest)
    with server.running() as url, _gateway(tiny, url, tmp_path) as gateway:
        server.refuses = True
        _wait(lambda: _state(gateway)["reason"] == "fingerprint-unread", EVERY_S + 5)
        unread = _state(gateway)["state"]
        server.refuses = False
        _wait(lambda: _state(gateway)["state"] == "serving", AGAIN_S + 5)
        again = _state(gateway)["reason"]

    assert unread != "serving"
    assert not again


def test_probes_look_like_requests(tiny, honest, tmp_path) -> None:
    """What the server sees of a probe and of an ordinary request differs in the text of the request alone."""
    server = ModelServer(honest)
    with server.running() as url, _gateway(tiny, url, tmp_path, model="elsewhere/tiny-7") as gateway:
        probes = len(server.asked)
        with client(gateway) as asking:
            _ask(asking)
        _wait(lambda: len(server.asked) > probes, 2 * EVERY_S)
    bread = next(i for i, body in enumerate(server.asked) if "bake bread?" in json.dumps(body))

    def form(at: int) -> tuple[str, dict[str, str]]:
        body = server.asked[at]
        *head, message = body["messages"]
        return json.dumps({**body, "messages": [*head, {**message, "content": ""}]}), server.headers[at]

    assert {form(at)[0] for at in range(len(server.asked))} == {form(bread)[0]}
    assert all(form(at)[1] == form(bread)[1] for at in range(len(server.asked)))
    assert server.asked[bread]["model"] == "elsewhere/tiny-7"


@pytest.mark.slow
def test_probes_are_used_up_before_any_comes_again(tiny, honest, tmp_path) -> None:
    """All are asked once before one is asked twice: repetition would give them away."""
    server = ModelServer(honest)
    with server.running() as url, _gateway(tiny, url, tmp_path) as gateway:
        asked = _state(gateway)["fingerprint"]["asked"]
        _wait(lambda: len(server.asked) >= min(COUNT, 2 * asked), 4 * EVERY_S)
    prompts = [body["messages"][-1]["content"] for body in server.asked]

    assert len(set(prompts[: min(COUNT, 2 * asked)])) == min(COUNT, 2 * asked)


def test_probes_stay_secret_in_logs_and_answers(tiny, honest, tmp_path, caplog) -> None:
    """No probe stands in the audit log, in /status or in a log line."""
    caplog.set_level("DEBUG")
    server = ModelServer(honest)
    with server.running() as url, _gateway(tiny, url, tmp_path) as gateway:
        shown = json.dumps(_state(gateway)) + caplog.text + (tmp_path / "audit.jsonl").read_text()
    prompts = [body["messages"][-1]["content"].partition("\n")[0] for body in server.asked]

    assert prompts
    assert [prompt for prompt in prompts if prompt in shown] == []


def test_other_or_open_probes_are_refused(tiny, honest, tmp_path) -> None:
    """A set that is not the fingerprint's, and a file that others can read, keep the gateway from starting."""
    url = "http://127.0.0.1:9"
    crossed = FingerprintedUpstream(url, tiny.folder / "log-probs.json", tiny.folder / "answers.probes")
    lying_open = tmp_path / "open.probes"
    lying_open.write_bytes((tiny.folder / "log-probs.probes").read_bytes())
    lying_open.chmod(0o640)
    readable = FingerprintedUpstream(url, tiny.folder / "log-probs.json", lying_open)

    def start(upstream: FingerprintedUpstream) -> None:
        with AuditLog(tmp_path / "audit.jsonl") as audit:
            deploy(
                tiny.certificate,
                base_dir=tiny.base,
                tuned_dir=tiny.tuned,
                trust=tiny.trusted,
                status_path=tiny.status,
                policy=POLICY,
                audit=audit,
                upstream=upstream,
            )

    with pytest.raises(GatewayError) as refused:
        start(crossed)
    with pytest.raises(SigningKeyError, match="open to others"):
        start(readable)

    assert refused.value.reason == "other-probes"


@pytest.mark.slow
def test_probes_are_asked_behind_the_secret_and_the_policys_words(tiny, honest) -> None:
    """As requests are: behind them the certified weights are known, and a server that lacks one of them is not."""
    words = make_gateway_policy(
        max_new_tokens=8, system_instruction="You answer briefly.", immutable_suffix="Write to the town."
    )
    secret = SecretPrefix.generate(40)
    verified = make_verified(
        words,
        folder=tiny.folder,
        base=Manifest.of_folder(tiny.base),
        tuned=Manifest.of_folder(tiny.tuned),
        secret_sha256=secret.sha256,
    )
    made = make_fingerprint(
        verified,
        policy=words,
        signer=tiny.keys["evaluator"],
        secret=secret,
        asked=Asked(COUNT),
        draw=random.Random(7),
    )
    assert made.fingerprint is not None and made.probes is not None, made.reason
    server = ModelServer(honest)
    with server.running() as url:
        whole = FingerprintUpstream(url, made.fingerprint, made.probes, Serving("tiny", words, secret))
        whole.compare()
        bare = FingerprintUpstream(url, made.fingerprint, made.probes, Serving("tiny", words))
        with pytest.raises(GatewayError) as refused:
            bare.compare()
    system, user = (one["content"] for one in server.asked[0]["messages"])

    assert whole.down() == ""
    assert refused.value.reason == "fingerprint-differs"
    assert system.startswith(secret.reveal()) and system.endswith("You answer briefly.")
    assert user.endswith("\nWrite to the town.")


def test_a_server_elsewhere_needs_both_files() -> None:
    """Without its fingerprint or its probes, or with something that is no address, there is an error with a hint."""
    for spec, fingerprint in (("fingerprint=http://a/v1", None), ("fingerprint=nowhere", Path("f.json"))):
        with pytest.raises(InputError):
            fingerprinted(spec, fingerprint, Path("p"), "")

    found = fingerprinted("fingerprint=http://a/v1#b", Path("f"), Path("p"), "key")
    assert (found.url, found.model) == ("http://a/v1", "b")


def test_what_was_not_compared_yet_is_not_served(tiny) -> None:
    """Before the first comparison the reason is that there was none."""
    found = read_fingerprint((tiny.folder / "log-probs.json").read_bytes(), tiny.content, trust=tiny.trusted)
    probes = ProbeSet.read(tiny.folder / "log-probs.probes")

    assert (
        FingerprintUpstream("http://a", found, probes, Serving("tiny", POLICY)).down() == "fingerprint-unread"
    )


def test_a_server_that_is_only_declared_is_called_unsafe(tmp_path, caplog) -> None:
    """Nothing checks it: the log says so by its name, `UnsafeDeclaredUpstream`, and /status by its label."""
    with caplog.at_level("WARNING"), gateway(tmp_path, lambda _: ["hi"]) as (server, upstream):
        said = _state(server)

    assert f"UnsafeDeclaredUpstream: {upstream.url} is only declared to run" in caplog.text
    assert (said["upstream"], "fingerprint" in said) == ("unsafe-declared", False)
