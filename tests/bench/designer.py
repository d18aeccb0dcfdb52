"""NVIDIA's Data Designer on the same provider, run by an interpreter that has it, not by ours.

`PYTHON tests/bench/designer.py COUNT API_BASE IN_FLIGHT PROMPTS`: prints JSON. Two columns of text,
a problem and an opinion on it, asked for with our prompts. Parsing the opinion is spared to it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WARM_UP = 20


def designed(api_base: str, in_flight: int, asked: dict[str, dict[str, str]]) -> tuple[Any, Any]:
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
    for name, prompt in (("problem", asked["write"]), ("opinion", asked["grade"])):
        build.add_column(
            config.LLMTextColumnConfig(
                name=name, prompt=prompt["user"], system_prompt=prompt["system"], model_alias="m"
            )
        )
    folder = tempfile.mkdtemp()
    return interface.DataDesigner(artifact_path=folder, model_providers=[provider]), build


def main(count: str, api_base: str, in_flight: str, prompts_at: str) -> None:
    asked = json.loads(Path(prompts_at).read_text())
    designer, build = designed(api_base, int(in_flight), asked)
    designer.create(build, num_records=WARM_UP, dataset_name="warm")
    used, began = os.times(), time.perf_counter()
    made = designer.create(build, num_records=int(count), dataset_name="measured")
    seconds, spent = time.perf_counter() - began, os.times()
    cpu = spent.user + spent.system - used.user - used.system
    found = {"rate": len(made.load_dataset()) / seconds, "cpu": cpu * 1e3 / int(count)}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
