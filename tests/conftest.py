"""What every test shares: tests that run the embedded model share one worker, so that it is loaded once."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put every test marked `model` into one xdist group, and start with them: they take the longest."""
    items.sort(key=lambda item: item.get_closest_marker("model") is None)
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            if item.get_closest_marker("model"):
                item.add_marker(pytest.mark.xdist_group("model"))
            elif item.path.parent.name == "gateway" and not item.get_closest_marker("xdist_group"):
                # one gateway serves all tests of a file, in their order
                item.add_marker(pytest.mark.xdist_group(item.path.stem))
