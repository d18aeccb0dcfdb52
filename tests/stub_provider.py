"""An OpenAI-compatible server on 127.0.0.1 that answers with the offline model's brain.

Used in a thread (`with StubProvider() as stub`) or as a process: `python -m tests.stub_provider
PORT SECONDS [CAPACITY [SHARE [TEXT]]]` (0 picks a free port; each answer takes so long; so many at
once, 0: any; so many of them are refused; each says this; the address is the first line it prints).
It stands for a provider that is elsewhere, so it reads no more of HTTP than our clients write: on
two processors a web server's own work would be a tenth of what a bench measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import re
import socket
import sys
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from tdsys.llm.offline.engine import OfflineEngine

Message = dict[str, Any]
LENGTH = re.compile(r"(?i)\r\ncontent-length: *(\d+)")
GARBAGE = "I'd be happy to help! Here is something else entirely."
START_SECONDS = 20.0
LETTERS = "abcdefghijklmnopqrstuvwxyz"
NUMBERS = itertools.count(1)


@dataclass
class Behaviour:
    """What the server does beside answering; a test may change it while the server runs.

    `key_lasts`: after so many answers the key is refused. `refuse_share`: of the requests so many
    get 429. `capacity`: so many are worked on at once, the others wait.
    """

    latency: float = 0.0
    status: int = 200
    refuse_next: int = 0
    refuse_share: float = 0.0
    capacity: int | None = None
    key_lasts: int | None = None
    garbage_next: int = 0
    say: str | None = None
    retry_after: str = "0.05"


@dataclass
class StubProvider:
    """The server, its behaviour, and what it has seen."""

    seed: int = 7
    behaviour: Behaviour = field(default_factory=Behaviour)
    requests: list[Message] = field(default_factory=list)
    answered: int = 0
    refused: int = 0
    running: int = 0
    peak: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        # Answers are cached by model name, so every server has its own.
        self.model = f"openai/stub-{next(NUMBERS)}"
        self._engine = OfflineEngine(seed=self.seed)
        self._is_serving = threading.Event()
        self._lot = random.Random(self.seed)
        self._places: tuple[int | None, asyncio.Semaphore] | None = None
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self.port = self._listening.getsockname()[1]
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self.serve, daemon=True)

    @property
    def api_base(self) -> str:
        """The address to give as TDSYS_LM_API_BASE."""
        return f"http://127.0.0.1:{self.port}/v1"

    def serve(self) -> None:
        """Serve until told to stop."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(over.set)
        server = await asyncio.start_server(self._connected, sock=self._listening)
        self._is_serving.set()
        await over.wait()
        server.close()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._is_serving.wait(START_SECONDS):
            raise TimeoutError("the stub provider did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        self._thread.join(5)

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One request after the other, until the client has gone away."""
        over = asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
        with contextlib.suppress(*over), closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                text = await reader.readexactly(int(LENGTH.search(head)[1]))  # type: ignore[index]
                status, content = await self._answer(head.split()[1], text)
                writer.write(_response(status, content, self.behaviour.retry_after))
                await writer.drain()

    async def _answer(self, path: str, text: bytes) -> tuple[int, Message]:
        """POST /v1/chat/completions, and /v1/embeddings by letters."""
        if not path.endswith(("/chat/completions", "/embeddings")):
            return 404, {"error": {"message": "no such path"}}
        body = json.loads(text)
        self.requests.append(body)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            return await self._reply(body)
        finally:
            self.running -= 1

    async def _reply(self, body: Message) -> tuple[int, Message]:
        async with self._room():
            await asyncio.sleep(self.behaviour.latency)
        if self.behaviour.refuse_next > 0 or self._lot.random() < self.behaviour.refuse_share:
            self.behaviour.refuse_next = max(0, self.behaviour.refuse_next - 1)
            self.refused += 1
            return 429, {"error": {"message": "slow down", "type": "rate_limit_error"}}
        if (status := self._status()) != 200:
            return status, {"error": {"message": "refused by the test"}}
        self.answered += 1
        if "input" in body:
            return 200, self._embeddings(body["input"])
        return 200, _completion(body, self._text(body))

    def _room(self) -> asyncio.Semaphore:
        """Made here, for it belongs to the loop that serves."""
        if self._places is None or self._places[0] != self.behaviour.capacity:
            size = self.behaviour.capacity
            self._places = size, asyncio.Semaphore(size or 1_000_000)
        return self._places[1]

    def _status(self) -> int:
        lasts = self.behaviour.key_lasts
        return 401 if lasts is not None and self.answered >= lasts else self.behaviour.status

    def _embeddings(self, texts: list[str]) -> Message:
        """How often each letter stands in a text, the last text first."""
        rows = [
            {"index": place, "embedding": [text.lower().count(letter) for letter in LETTERS]}
            for place, text in enumerate(texts)
        ]
        return {"data": rows[::-1]}

    def _text(self, body: Message) -> str:
        if self.behaviour.garbage_next > 0:
            self.behaviour.garbage_next -= 1
            return GARBAGE
        if self.behaviour.say is not None:
            return self.behaviour.say
        said = [(str(m["role"]), _plain(m["content"])) for m in body["messages"]]
        system = "".join(text for role, text in said if role in {"system", "developer"})
        rest = [(role, text) for role, text in said if role in {"user", "assistant"}]
        return self._engine.reply(system, rest, body.get("temperature"))


def _plain(content: str | list[Message]) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content)


def _completion(body: Message, text: str) -> Message:
    read, written = len(json.dumps(body["messages"])) // 4, len(text) // 4
    return {
        "id": "stub",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        ],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }


def _response(status: int, content: Message, retry_after: str) -> bytes:
    text = json.dumps(content).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(text)}\r\nretry-after: {retry_after}\r\n\r\n"
    )
    return head.encode() + text


if __name__ == "__main__":
    port, latency, capacity, share, *said = [*sys.argv[1:], *["0"] * (5 - len(sys.argv))]
    behaving = Behaviour(
        latency=float(latency),
        capacity=int(capacity) or None,
        refuse_share=float(share),
        say=said[0] if said else None,
    )
    provider = StubProvider(port=int(port), behaviour=behaving)
    sys.stdout.write(provider.api_base + "\n")
    sys.stdout.flush()
    provider.serve()
