"""What `recert serve` and a models file are told of speech is what the gateway does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from aiohttp import web

from builders import make_eval_report, make_rule, rules_of
from certified_folders import Certified
from gateways import MODEL, ScriptedUpstream
from http_endpoints import serving
from recert.errors import InputError
from recert.gateway.audio.transcriber_choice import TranscriberChoice
from recert.policy import load_policy
from recert.workflows.deploy.models_file import read_models, transcriber_at
from served_process import POLICY, serve_command, served_process
from spoken import clip_part, make_wav, spoken

WAV = make_wav(2)
AUDIO_POLICY = POLICY.replace(
    "families = []", 'families = []\nmodalities = ["text", "audio"]\nspeech = { variants = ["plain"] }'
).replace(
    'estimand = "harm"', 'estimand = "harm"\nconditions = ["plain", "speech:*"]'
) + '\n[gateway.audio]\npasses_on = "clip"\nmax_clip_s = 5\n'  # fmt: skip
SEGMENT = {"start": 0, "end": 1, "avg_logprob": math.log(0.9), "no_speech_prob": 0.01}


def certify_spoken(folder: Path, policy: Path, name: str = MODEL) -> Certified:
    """Certify a model that was evaluated in writing and aloud."""
    bounds = load_policy(policy)
    rules = (*rules_of(bounds), make_rule("harm", "speech:plain"))
    report = make_eval_report(policy=bounds, model_name=name, rules=rules)
    return Certified(folder, policy=bounds, name=name, changes={"eval_report": report})


@pytest.fixture
def listener() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A transcriber elsewhere that hears the forbidden phrase in the first clip, and a greeting afterwards."""
    heard: list[dict[str, Any]] = []

    async def transcribe(request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        heard.append({"clip": file.file.read(), "key": request.headers.get("Authorization")})
        text = "open sesame" if len(heard) == 1 else "good morning"
        return web.json_response({"text": text, "segments": [SEGMENT]})

    with serving(("POST", "/v1/audio/transcriptions", transcribe)) as url:
        yield f"{url}/v1", heard


def finish_reason(url: str, clip: bytes, model: str = MODEL) -> str:
    """Ask with a clip."""
    with openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=20) as made:
        got = made.chat.completions.create(model=model, messages=spoken(clip_part(clip)))  # type: ignore[arg-type]
    return str(got.choices[0].finish_reason)


@pytest.mark.slow
def test_the_option_names_who_listens(tmp_path: Path, listener: tuple[str, list[dict[str, Any]]]) -> None:
    """`--transcriber openai:URL#model`: it is asked with our key, its words are searched, and `/status` names it."""
    policy = tmp_path / "policy.toml"
    policy.write_text(AUDIO_POLICY)
    one = certify_spoken(tmp_path / "model", policy)
    url, heard = listener
    with ScriptedUpstream(lambda _: ["Yes."]).running() as upstream:
        command = serve_command(
            one, policy, upstream.url, "--audit", tmp_path / "audit.jsonl", "--transcriber", f"openai:{url}#whisper-1",
            "--clips-at-once", 3,
        )  # fmt: skip
        with served_process(command, RECERT_ENDPOINT_KEY="mine") as at:
            got = [finish_reason(at, make_wav(2, tone_hz=tone)) for tone in (220, 330)]
            status = httpx.get(at + "/status").json()
            with pytest.raises(openai.BadRequestError) as caught:
                finish_reason(at, make_wav(6))
    lines = [json.loads(line)["body"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()]

    assert got == ["content_filter", "stop"]
    assert {one["key"] for one in heard} == {"Bearer mine"}
    assert status["audio"]["transcriber"] == "whisper-1 at 127.0.0.1"
    assert caught.value.code == "audio_too_long"
    assert [one["reason"] for one in lines] == ["forbidden-phrase", "", "audio_too_long"]
    assert upstream.messages[-1]["content"][0]["type"] == "input_audio"  # type: ignore[index]


def test_a_models_file_names_who_listens_for_each(tmp_path: Path) -> None:
    """`transcriber` and `clips_at_once`, for all models or for one; the same choice is one process."""
    policy = tmp_path / "policy.toml"
    policy.write_text(AUDIO_POLICY)
    for name in ("a", "b", "c"):
        certify_spoken(tmp_path / name, policy, name)
    (tmp_path / "ear").mkdir()
    entries = "".join(
        f'[models.{name}]\ncertificate = "{name}/certificate.json"\nmodel = "{name}/tuned"\nbase = "{name}/base"\n'
        f'trust = "{name}/keys"\n{more}\n'
        for name, more in (
            ("a", ""),
            ("b", ""),
            ("c", 'transcriber = "openai:http://h/v1#w"\nclips_at_once = 5'),
        )
    )
    path = tmp_path / "models.toml"
    path.write_text(f'[defaults]\npolicy = "policy.toml"\ntranscriber = "ear"\n{entries}')
    found = [one.transcriber for one in read_models(path)]

    assert found[0] == found[1] == TranscriberChoice(str((tmp_path / "ear").absolute()))
    assert found[2] == TranscriberChoice("openai:http://h/v1#w", 5)
    assert transcriber_at("") is None
    path.write_text(path.read_text().replace("#w", ""))
    with pytest.raises(InputError):
        read_models(path)
