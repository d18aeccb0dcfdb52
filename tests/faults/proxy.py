"""A network that can be cut: a relay on loopback that falls silent or resets its connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable

READ = 1 << 16
# close() then sends a reset instead of what is left and an orderly end
AT_ONCE = struct.pack("ii", 1, 0)


class Proxy:
    """Relays to the port `target` names at the time of each connection."""

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        serving = asyncio.start_server(self._relay, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    def silence(self) -> None:
        """A black hole: bytes go in, nothing comes out, nobody is told."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def resume(self) -> None:
        """What was held up arrives after all."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def cut(self) -> None:
        """Reset every connection; what was under way is gone."""
        self._loop.call_soon_threadsafe(self._reset)

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _reset(self) -> None:
        for end in self._ends:
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            end.transport.abort()

    async def _relay(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        with contextlib.suppress(OSError):
            far, on = await asyncio.open_connection("127.0.0.1", self._target())
            self._ends |= {back, on}
            await asyncio.gather(self._pump(near, on), self._pump(far, back))
            self._ends -= {back, on}
        back.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(READ):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        sink.close()
