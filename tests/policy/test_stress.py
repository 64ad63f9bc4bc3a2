"""The numbers of a stress test: what cannot be run is refused when the policy is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from recert.errors import PolicyError
from recert.policy import StressGrid, StressPolicy, load_policy


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"rates": (0.02, 0.1)}, "rates rise from 0"),
        ({"rates": (0.0, 0.1, 0.1)}, "rates rise from 0"),
        ({"rates": (0.0, 0.5, 0.1)}, "rates rise from 0"),
        ({"rates": (0.0, 1.5)}, "rates rise from 0"),
        ({"rates": (0.0, 0.005), "rows": 60}, "is not one row of 60"),
        ({"seeds": (1, 1)}, "seeds holds a value twice"),
        ({"learning_rates": (0.0,)}, "above 0"),
        ({"epochs": (-1.0,)}, "above 0"),
        ({"harmful_prompts": 3}, "greater than or equal to 12"),
        ({"families": ()}, "at least 1 item"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused(numbers: dict[str, Any], said: str) -> None:
    """The reason names the number."""
    with pytest.raises(ValidationError, match=said):
        StressGrid.model_validate(numbers)


def test_a_misspelt_number_of_a_grid_is_refused(tmp_path: Path) -> None:
    """It would silently be the default."""
    path = tmp_path / "policy.toml"
    rule = '[[rules]]\nid = "harm"\nsuite = "harmful"\nestimand = "harm"\nmargin = 0.1\n'
    path.write_text(f'id = "p"\nversion = "1"\n[stress.small]\nrate = [0.0, 1.0]\n{rule}')

    with pytest.raises(PolicyError, match="unknown field") as caught:
        load_policy(path)

    assert "stress.small.rate" in str(caught.value)


def test_both_settings_have_a_grid() -> None:
    """The small one fits into minutes; the full one is the whole sweep."""
    bounds = StressPolicy()

    assert bounds.grid("small").rows < bounds.grid("full").rows == 5_000
    assert len(bounds.grid("full").learning_rates) == 4
