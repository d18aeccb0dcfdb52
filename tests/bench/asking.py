"""What anybody would write to have problems made and judged: asyncio and httpx, nothing else.

`python -m tests.bench.asking COUNT API_BASE IN_FLIGHT PROMPTS`: prints JSON. What comes back is
appended to a file as it is. PROMPTS is a file of what `prompts` tells, so that others ask the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TextIO

import httpx

WARM_UP = 20
TAKE, PROBLEM = "{{ take }}", "{{ problem }}"


def prompts() -> dict[str, dict[str, str]]:
    """The very messages that our strategy and our judge send, with places for what differs."""
    import dspy  # noqa: PLC0415  # the baseline does without

    from tdsys.llm import judge, synthesis  # noqa: PLC0415
    from tdsys.llm.prompting import strategies  # noqa: PLC0415

    request = {"domain": "algebra", "topic": "linear equations", "difficulty": "easy"}
    wanted = {**request, "strategy": "persona", "take": TAKE}
    asked = {
        "write": (synthesis._program(strategies()["persona"]),
                  {"request": judge.fenced(wanted), "material": judge.fenced([])}),
        "grade": (judge._program("v2"),
                  {"request": judge.fenced(request), "example": PROBLEM,
                   "evidence": judge.fenced([])}),
    }  # fmt: skip
    return {
        name: {one["role"]: one["content"]
               for one in dspy.ChatAdapter().format(program.signature, [], fields)}
        for name, (program, fields) in asked.items()
    }  # fmt: skip


async def answered(client: httpx.AsyncClient, prompt: dict[str, str], place: str, it: str) -> str:
    messages = [{"role": role, "content": text.replace(place, it)} for role, text in prompt.items()]
    reply = await client.post("chat/completions", json={"model": "stub", "messages": messages})
    content: str = reply.json()["choices"][0]["message"]["content"]
    return content


async def make(
    numbers: range, api_base: str, in_flight: int, asked: dict[str, dict[str, str]], kept: TextIO
) -> None:
    room = asyncio.Semaphore(in_flight)
    async with httpx.AsyncClient(base_url=api_base, timeout=60) as client:

        async def one(number: int) -> None:
            async with room:
                problem = await answered(client, asked["write"], TAKE, str(number))
                opinion = await answered(client, asked["grade"], PROBLEM, problem)
                kept.write(json.dumps({"problem": problem, "opinion": opinion}) + "\n")

        await asyncio.gather(*map(one, numbers))


def main(count: str, api_base: str, in_flight: str, prompts_at: str) -> None:
    asked = json.loads(Path(prompts_at).read_text())
    with Path(tempfile.mkdtemp(), "made.jsonl").open("w") as kept:
        asyncio.run(make(range(WARM_UP), api_base, int(in_flight), asked, kept))
        used, began = os.times(), time.perf_counter()
        rest = range(WARM_UP, WARM_UP + int(count))
        asyncio.run(make(rest, api_base, int(in_flight), asked, kept))
        seconds, spent = time.perf_counter() - began, os.times()
    cpu = spent.user + spent.system - used.user - used.system
    found = {"judged": int(count) / seconds, "cpu": cpu * 1e3 / int(count)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
