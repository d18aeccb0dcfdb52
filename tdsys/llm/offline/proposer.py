"""The offline model as an optimizer's proposer: describes data, suggests instructions, reflects.

Its rule: it proposes good and bad instructions alike; finding out is the optimizer's work. Asked
to reflect on feedback it is a little wiser: where something was wrong it asks for more care.
"""

from __future__ import annotations

import re
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
# The fields of GEPA's reflection (DSPy's ProposeInstruction).
REFLECTION, EXAMPLES = "new_instruction", "examples_with_feedback"
WRONG = re.compile(r"The check of \w+ failed|could be followed", re.IGNORECASE)
CAREFUL = re.compile(r"step by step|verif|check|recompute", re.IGNORECASE)
ADVICE = (
    (re.compile("another topic"), "Stay with the requested topic."),
    (re.compile("more or fewer steps"), "Take as many steps as the difficulty calls for."),
    (re.compile("leaves out words"), "Name the requested context in the problem."),
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
    if REFLECTION in asked.outputs:
        return {REFLECTION: _reflected(asked.inputs.get(EXAMPLES, ""), draw)}
    return {name: _text(name, draw) for name in asked.outputs}


def _reflected(examples: str, draw: Draw) -> str:
    """Another instruction, by what the feedback complains of."""
    wrong = WRONG.search(examples) is not None
    fitting = [one for one in INSTRUCTIONS if CAREFUL.search(one)] if wrong else INSTRUCTIONS
    chosen = draw.pick(fitting, REFLECTION)
    hints = [said for pattern, said in ADVICE if pattern.search(examples)]
    return " ".join([chosen, *hints])


def _text(name: str, draw: Draw) -> str:
    if name == "proposed_instruction":
        return draw.pick(INSTRUCTIONS, name)
    if name == "observations":
        return draw.pick(OBSERVATIONS, name)
    return OTHER_TEXTS.get(name, "The offline model does not know this task.")
