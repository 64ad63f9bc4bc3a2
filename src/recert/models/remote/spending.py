"""What a remote model has cost so far, and the most it may cost."""

from __future__ import annotations

from dataclasses import dataclass

from recert.errors import InputError


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost. Nobody but the provider knows: the user gives them."""

    input_per_million: float
    output_per_million: float
    currency: str = "USD"

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what so many tokens cost."""
        return (
            prompt_tokens * self.input_per_million + completion_tokens * self.output_per_million
        ) / 1_000_000


class Spending:
    """
    Tokens used and their cost. One for all models that share a budget.

    What is under way counts with what it may need at most, so a budget is kept, save where a reply is
    larger than was asked for.

    Args:
        prices: needed for a cost, and for a budget in money.
        most_cost: the budget in the prices' currency.
        most_tokens: the budget in tokens, prompts and replies together.

    Raises:
        InputError: a budget in money without prices, or a budget that is not above zero.
    """

    def __init__(
        self,
        prices: Prices | None = None,
        *,
        most_cost: float | None = None,
        most_tokens: int | None = None,
    ) -> None:
        if most_cost is not None and prices is None:
            raise InputError("a budget in money needs prices", hint="give the price of a million tokens")
        if any(most is not None and not most > 0 for most in (most_cost, most_tokens)):
            raise InputError(
                "a budget must be above zero", facts={"most_cost": most_cost, "most_tokens": most_tokens}
            )
        self.prices = prices
        self.most_cost = most_cost
        self.most_tokens = most_tokens
        self.requests = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._under_way = (0, 0)

    @property
    def cost(self) -> float | None:
        """What was spent, or None where no prices were given."""
        return self.prices.of(self.prompt_tokens, self.completion_tokens) if self.prices else None

    @property
    def facts(self) -> dict[str, object]:
        """Requests, tokens, cost and budget, as an error or a summary shows them."""
        facts: dict[str, object] = {
            "requests": self.requests,
            "tokens": self.prompt_tokens + self.completion_tokens,
        }
        if self.most_tokens is not None:
            facts["most tokens"] = self.most_tokens
        if self.prices is not None:
            facts["cost"] = f"{self.cost:.4f} {self.prices.currency}"
            if self.most_cost is not None:
                facts["most cost"] = f"{self.most_cost:.4f} {self.prices.currency}"
        return facts

    def begin(self, prompt_tokens: int, completion_tokens: int) -> bool:
        """Say whether a request that may need so much is within the budget; if so it is under way."""
        prompt, completion = self._under_way[0] + prompt_tokens, self._under_way[1] + completion_tokens
        at_most = self.prompt_tokens + prompt, self.completion_tokens + completion
        if self.most_tokens is not None and sum(at_most) > self.most_tokens:
            return False
        if self.most_cost is not None and self.prices and self.prices.of(*at_most) > self.most_cost:
            return False
        self._under_way = prompt, completion
        return True

    def end(self, begun: tuple[int, int], used: tuple[int, int] | None) -> None:
        """Count what a request really used; None where it failed without an answer."""
        self._under_way = self._under_way[0] - begun[0], self._under_way[1] - begun[1]
        if used is not None:
            self.requests += 1
            self.prompt_tokens += used[0]
            self.completion_tokens += used[1]
