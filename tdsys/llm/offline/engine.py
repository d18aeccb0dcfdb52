"""The offline model as a DSPy 3.4 engine: `complete(Request) -> Response`.

Its rule: an answer is a pure function of seed, prompt, temperature and resampling number, so a
rerun repeats itself and a cached answer is never a lie.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from dspy.lm15 import Message, Request, Response, TextPart, Usage

from tdsys.llm.offline import judge_brain, problems, proposer, variants
from tdsys.llm.offline.prompt import Asked, Draw, answer, read

# Raised whenever the same prompt would be answered differently; part of the model's name.
BRAIN = 4
CHARS_PER_TOKEN = 4
NO_FORM = "The prompt names no fields to answer with."
# Which fresh sample a call asks for (DSPy's rollout_id, which requests do not carry).
resampling: ContextVar[int] = ContextVar("resampling", default=0)
Brain = Callable[[Asked, Draw], dict[str, Any]]


class OfflineEngine:
    """Answers prompts about elementary mathematics without weights or network."""

    def __init__(self, *, seed: int = 7) -> None:
        self.seed = seed

    def complete(self, request: Request) -> Response:
        """One answer; never fails."""
        system = _system(request)
        messages = [(str(m.role), m.text or "") for m in request.messages]
        text = self.reply(system, messages, request.config.temperature)
        read_tokens = (len(system) + sum(len(said) for _, said in messages)) // CHARS_PER_TOKEN
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(text)]),
            finish_reason="stop",
            usage=Usage(input_tokens=read_tokens, output_tokens=len(text) // CHARS_PER_TOKEN),
        )

    def reply(self, system: str, messages: list[tuple[str, str]], temperature: float | None) -> str:
        """The text of the answer."""
        asked = read(system, messages)
        brain = _brain(asked)
        # Proposals ignore the resampling number: a server never sees it, and an optimization
        # over HTTP must equal one in this process.
        sample = 0 if brain is proposer.propose else resampling.get()
        draw = Draw(self.seed, system, messages, float(temperature or 0), sample)
        return answer(asked, brain(asked, draw)) if asked.outputs else NO_FORM


def _brain(asked: Asked) -> Brain:
    if judge_brain.OUTPUT in asked.outputs:
        return judge_brain.judge
    if variants.can_vary(asked):
        return variants.vary
    if variants.can_solve(asked):
        return variants.solve
    return problems.write if problems.can_write(asked) else proposer.propose


def _system(request: Request) -> str:
    system = request.system
    if system is None or isinstance(system, str):
        return system or ""
    return "".join(part.text for part in system)
