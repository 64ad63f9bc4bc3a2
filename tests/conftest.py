"""What every test shares: tests that run the embedded model share one worker, and are slow."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from recert.digest import sha256_bytes

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # in the background of a script, as many runners start tests: what tests start would ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put every test marked `model` into one xdist group, and start with them: they take the longest."""
    items.sort(key=lambda item: item.get_closest_marker("model") is None)
    for item in items:
        if item.get_closest_marker("model"):
            item.add_marker(pytest.mark.slow)
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            if item.get_closest_marker("model"):
                item.add_marker(pytest.mark.xdist_group("model"))
            elif item.path.parent.name == "gateway" and not item.get_closest_marker("xdist_group"):
                # one gateway serves all tests of a file, in their order
                item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session", autouse=True)
def _memory_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no test remember, or be held to, what was seen or issued in another run."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("memory")
        patch.setenv("RECERT_MEMORY", str(folder / "seen.json"))
        patch.setenv("RECERT_ISSUED", str(folder / "issued.json"))
        patch.setenv("RECERT_LEDGER", str(tmp_path_factory.mktemp("ledger")))
        patch.setenv("RECERT_CACHE_KEY", str(tmp_path_factory.mktemp("state") / "cache.key"))
        patch.setenv("RECERT_COPIES", str(tmp_path_factory.mktemp("copies")))
        yield


@pytest.fixture(autouse=True)
def _memory_of_each_test(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    """Let no test be held to what another one saw or issued, such as a later time."""
    name = sha256_bytes(request.node.nodeid.encode())[:16]
    monkeypatch.setenv("RECERT_MEMORY", str(tmp_path_factory.getbasetemp() / f"seen-{name}.json"))
    monkeypatch.setenv("RECERT_ISSUED", str(tmp_path_factory.getbasetemp() / f"issued-{name}.json"))
    monkeypatch.setenv("RECERT_LEDGER", str(tmp_path_factory.getbasetemp() / f"ledger-{name}"))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Hold each test to leaving torch as it found it: without gradients, whatever trains later in the process fails."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and (torch.is_inference_mode_enabled() or not torch.is_grad_enabled()):
        inference = torch.is_inference_mode_enabled()
        pytest.fail(
            f"{item.nodeid} left torch without gradients (inference mode: {inference})", pytrace=False
        )
