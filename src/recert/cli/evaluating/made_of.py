"""Options for a model that was made of a certified one, by a merge or a quantisation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from recert.evaluation.stage import Evaluation
    from recert.records.reports.evaluation import EvalReport
    from recert.records.signed.attempt import Attempt
    from recert.workflows.attempts.ledger import Ledger
    from recert.workflows.progress_file import ProgressFile

Parent = Annotated[
    Path | None,
    typer.Option(
        help="Certificate of the model that this one was made of: evidence is carried over from it, where the policy "
        "lets it; `status.json` and `refusals` beside it count for it."
    ),
]
ParentModel = Annotated[
    Path | None, typer.Option(help="With --parent: that model, an adapter's folder or merged weights.")
]
Transform = Annotated[
    str,
    typer.Option(
        metavar="merge|quantise:PRECISION",
        help="With --parent: what was done to it; precisions are `float16`, `bfloat16`, `int8` and `int4`.",
    ),
]
CarryReason = Annotated[
    str, typer.Option(help="With --parent: why its results say something about this model, in words.")
]
ParentTrust = Annotated[
    Path | None,
    typer.Option("--trust", help="With --parent: trusted keys, by which its certificate is verified."),
]


@dataclass(frozen=True)
class MadeOf:
    """What was typed about the model that this one was made of."""

    certificate: Path | None
    model: Path | None
    transform: str
    reason: str
    trust: Path | None
    policy: str

    @property
    def given(self) -> bool:
        """
        Whether anything was typed.

        Raises:
            InputError: some of it was, and not all that is needed.
        """
        from recert.errors import InputError

        said = (self.certificate, self.model, self.transform, self.reason, self.trust)
        if any(said) and not all(said):
            raise InputError(
                "not all of it is said about the model that this one was made of",
                hint="give --parent, --parent-model, --transform, --carry-reason and --trust",
            )
        return all(said)

    def evaluate(
        self,
        base: str,
        model: str,
        engine: str,
        name: str,
        output: Path,
        tell: ProgressFile,
        ledger: Ledger,
        asked: dict[str, Any],
    ) -> EvalReport:
        """
        Evaluate with what is carried over, counted, and write it; end with exit 1 where nothing can be.

        Raises:
            VerificationError: the parent's certificate does not hold.
            RecertError: as `evaluate_child`.
        """
        from recert.cli.certifying.signing import load_certified_base
        from recert.cli.printing import NO
        from recert.models.engines.engines import open_arms, open_model
        from recert.workflows.attempts.counted import Asked, count
        from recert.workflows.evidence_reuse import Parent as ParentOf
        from recert.workflows.evidence_reuse import evaluate_child

        assert self.certificate is not None and self.trust is not None
        held = load_certified_base(self.certificate, self.trust, self.policy)
        base_model, parent_model = open_arms(base, str(self.model), engine)
        kind, comma, settings = engine.partition(",")
        child = open_model(f"{kind}:{Path(model).resolve()}{comma}{settings}")

        def begin(what: str) -> Any:
            tell.start(what)
            return tell

        asked["model_name"] = name or child.name

        def evaluation(attempt: Attempt) -> Evaluation:
            done = evaluate_child(
                base_model,
                child,
                ParentOf(held, parent_model, self.transform, self.reason),
                child_dir=Path(model),
                progress=begin,
                attempt=attempt,
                **asked,
            )
            done.write(output)
            if done.evaluation is None:
                for reason in done.reasons:
                    typer.echo(f"carry-over: {reason}")
                raise typer.Exit(NO)
            return done.evaluation

        parent = held.certificate
        more = (parent.digest, self.transform)
        return count(Asked.of(base_model, child, asked, more), output, ledger, evaluation)
