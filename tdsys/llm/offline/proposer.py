"""The offline model as MIPROv2's proposer: describes data and programs, suggests instructions.

Its rule: it proposes good and bad instructions alike; finding out is the optimizer's work.
"""

from __future__ import annotations

from typing import Any

from tdsys.llm.offline.prompt import Asked, Draw

INSTRUCTIONS = (
    (
        "Write a mathematics problem that fits the request. Work step by step and verify every "
        "calculation before you write the answer."
    ),
    (
        "Write one problem of exactly the requested topic and difficulty, set in the requested "
        "context. Solve it step by step and double-check the arithmetic."
    ),
    (
        "Follow the worked examples closely, with the same topic and length but other numbers. "
        "Recompute each step and check that the last one is the answer."
    ),
    "Create a clear problem for the request, solve it and give the answer.",
    "Write a problem, its solution and its answer.",
    "You are an enthusiastic storyteller. Be creative above all; numbers do not matter much.",
    "Answer quickly and keep it as short as possible.",
    (
        "This is a final examination and any mistake fails the student. Write the problem and "
        "check the result."
    ),
)
OBSERVATIONS = (
    (
        "The examples ask for short word problems of a given topic and difficulty, with a worked "
        "solution and one final answer."
    ),
    (
        "Each example states its quantities as numbers and reaches the answer in a few arithmetic "
        "steps that can be checked."
    ),
    "Harder examples take more steps; the setting changes while the method of a topic stays.",
)
OTHER_TEXTS = {
    "summary": "The data set holds short mathematics word problems by topic and difficulty, each "
    "with a step-by-step solution and a single final answer that can be checked.",
    "program_description": "The program writes a mathematics problem for a request, solves it and "
    "states the answer, guided by worked examples.",
    "module_description": "The module turns the request's fields into a problem, its worked "
    "solution and its answer.",
}


def propose(asked: Asked, draw: Draw) -> dict[str, Any]:
    """A text for every wanted field; fields it does not know get an honest refusal."""
    return {name: _text(name, draw) for name in asked.outputs}


def _text(name: str, draw: Draw) -> str:
    if name == "proposed_instruction":
        return draw.pick(INSTRUCTIONS, name)
    if name == "observations":
        return draw.pick(OBSERVATIONS, name)
    return OTHER_TEXTS.get(name, "The offline model does not know this task.")
