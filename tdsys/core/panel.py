"""What the jurors of a panel say together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tdsys.core.rubric import (
    Assessment,
    Dimension,
    DimensionScore,
    Judgement,
    Unscored,
    Verdict,
)

# A failed check of one of these proves the mathematics wrong, whatever a judge thinks.
PROOFS = frozenset({"steps", "answer", "complete"})


def together(judgements: Sequence[Judgement], verdict: Verdict) -> Assessment | Unscored:
    """The means of what the jurors said; Unscored where one was sure of no criterion at all."""
    for said in judgements:
        for dimension in Dimension:
            if said.value(dimension) is None:
                return Unscored(reason="abstained", detail=f"{said.juror} about all of {dimension}")
    scores = {d: _mean(judgements, d) for d in Dimension}
    jurors = [said.juror for said in judgements]
    return Assessment(
        scores=scores | _refuted(verdict),
        judge_model=_named(juror.model for juror in jurors),
        rubric_version=_named(juror.rubric for juror in jurors),
        prompt_version=_named(juror.prompt for juror in jurors),
        simulated=any(juror.simulated for juror in jurors),
        judgements=tuple(judgements),
    )


def _mean(judgements: Sequence[Judgement], dimension: Dimension) -> DimensionScore:
    values = [value for said in judgements if (value := said.value(dimension)) is not None]
    return DimensionScore(
        value=sum(values) / len(values), rationale=_reasons(judgements, dimension)
    )


def _reasons(judgements: Sequence[Judgement], dimension: Dimension) -> str:
    if len(judgements) == 1:
        return judgements[0].rationales[dimension]
    return " | ".join(f"{said.juror}: {said.rationales[dimension]}" for said in judgements)


def _named(names: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(names))


def _refuted(verdict: Verdict) -> dict[Dimension, DimensionScore]:
    proofs = [check for check in verdict.failed() if check.name in PROOFS]
    if not proofs:
        return {}
    reason = "; ".join(f"{check.name}: {check.evidence or 'failed'}" for check in proofs)
    return {Dimension.ACCURACY: DimensionScore(value=0.0, rationale=f"verifier: {reason}")}
