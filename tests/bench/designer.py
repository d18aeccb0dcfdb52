"""NVIDIA's Data Designer on the same provider, run by an interpreter that has it, not by ours.

`PYTHON tests/bench/designer.py COUNT API_BASE IN_FLIGHT PROMPTS KIND`: prints JSON. Two columns, a
problem and an opinion on it, asked for with our prompts. KIND `text`: it parses nothing; `parsed`:
a structured column and a judge's, as its users have them, which take `ANSWER` for both.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

WARM_UP = 20
NAMES = ("problem", "opinion")
PROBLEM = ("problem", "solution", "answer")
SCORES = ("accuracy", "coherence", "relevance", "educational_value")
SENTENCE = "Every step follows from the one before it, and the answer is what was asked for."
ANSWER = f"""```json
{
    json.dumps(
        {
            **dict.fromkeys(PROBLEM, SENTENCE * 3),
            **{name: {"score": 4, "reasoning": SENTENCE} for name in SCORES},
        }
    )
}
```"""


def _texts(config: Any) -> tuple[Any, Any]:
    return config.LLMTextColumnConfig, config.LLMTextColumnConfig


def _parsed(config: Any) -> tuple[Any, Any]:
    fields = {name: {"type": "string"} for name in PROBLEM}
    form = {"type": "object", "properties": fields, "required": list(PROBLEM)}
    grades = {grade: f"{grade} of 5" for grade in range(1, 6)}
    scores = [config.Score(name=name, description=name, options=grades) for name in SCORES]
    return (
        partial(config.LLMStructuredColumnConfig, output_format=form),
        partial(config.LLMJudgeColumnConfig, scores=scores),
    )


def designed(
    api_base: str, in_flight: int, asked: dict[str, dict[str, str]], kind: str
) -> tuple[Any, Any]:
    """The designer, and what it is to make."""
    config = importlib.import_module("data_designer.config")
    interface = importlib.import_module("data_designer.interface")
    provider = config.ModelProvider(
        name="stub", endpoint=api_base, provider_type="openai", api_key="x"
    )
    model = config.ModelConfig(
        alias="m",
        model="stub",
        provider="stub",
        skip_health_check=True,
        inference_parameters=config.ChatCompletionInferenceParams(max_parallel_requests=in_flight),
    )
    build = config.DataDesignerConfigBuilder(model_configs=[model])
    build.add_column(
        config.SamplerColumnConfig(
            name="take", sampler_type="uuid", params=config.UUIDSamplerParams()
        )
    )
    columns = (_texts if kind == "text" else _parsed)(config)
    for name, prompt, column in zip(NAMES, (asked["write"], asked["grade"]), columns, strict=True):
        system, user = prompt["system"], prompt["user"]
        build.add_column(column(name=name, prompt=user, system_prompt=system, model_alias="m"))
    folder = tempfile.mkdtemp()
    return interface.DataDesigner(artifact_path=folder, model_providers=[provider]), build


def main(count: str, api_base: str, in_flight: str, prompts_at: str, kind: str) -> None:
    asked = json.loads(Path(prompts_at).read_text())
    designer, build = designed(api_base, int(in_flight), asked, kind)
    designer.create(build, num_records=WARM_UP, dataset_name="warm")
    used, began = os.times(), time.perf_counter()
    made = designer.create(build, num_records=int(count), dataset_name="measured")
    seconds, spent = time.perf_counter() - began, os.times()
    cpu = spent.user + spent.system - used.user - used.system
    found = {"judged": len(made.load_dataset()) / seconds, "cpu": cpu * 1e3 / int(count)}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
