"""The text of a file, block by block: decompressed, decoded, counted.

The one rule: memory is bounded by the block and not by what the bytes say about themselves. Bytes
that are not text in the file's encoding become lone surrogates, so that a reader can point at them.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterable, Iterator

from tdsys.parsing.flaws import Trouble
from tdsys.parsing.reading import Limits, Reading

BLOCK = 256 * 1024
GZIP = b"\x1f\x8b"
# A small file may be as repetitive as it likes: the ratio is looked at only beyond this size.
_RATIO_FREE = 1024 * 1024
_GZIP_WINDOW = 31  # zlib's word for: gzip only, any window
_HALF = "\udcff"


class Stopped(Exception):
    """The bytes cannot be followed any further."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.trouble = Trouble(code, message)


class Source:
    """Text until `done`; `trouble` tells why it ended early, `damaged` that bytes were no text."""

    def __init__(self, pieces: Iterable[bytes], reading: Reading, limits: Limits) -> None:
        blocks = _blocks(pieces)
        self._bytes = _limited(inflated(blocks, limits) if reading.compressed else blocks, limits)
        self._decoder = _decoder(reading.encoding)
        self._first = True
        self.encoding = reading.encoding
        self.done = False
        self.damaged = False
        self.trouble: Trouble | None = None

    def read(self) -> str:
        """The next block of text; empty at the end."""
        text = ""
        while not text and not self.done:
            text = self._next()
            if self._first and text:
                self._first = False
                text = text.removeprefix("\ufeff")
        if not text.isascii() and not self.damaged:
            self.damaged = _damaged(text)
        return text

    def _next(self) -> str:
        try:
            block = next(self._bytes, None)
        except Stopped as stop:
            self.done, self.trouble = True, stop.trouble
            return ""
        self.done = block is None
        try:
            return self._decoder.decode(block or b"", final=self.done)
        except UnicodeDecodeError:
            return _HALF


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    wide = encoding.startswith("utf-16")
    return codecs.getincrementaldecoder(encoding)("surrogatepass" if wide else "surrogateescape")


def _damaged(text: str) -> bool:
    # Several times faster than a search for the characters themselves.
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of one size, whatever the sizes of the pieces."""
    held = bytearray()
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), BLOCK):
            held += view[start : start + BLOCK]
            if len(held) >= BLOCK:
                yield bytes(held[:BLOCK])
                del held[:BLOCK]
    if held:
        yield bytes(held)


def _limited(blocks: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    size = 0
    for block in blocks:
        size += len(block)
        if size > limits.total:
            raise Stopped("file_too_large", f"the file holds more than {limits.total:,} bytes")
        yield block


def inflated(blocks: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """What gzip-compressed blocks hold, a block at a time; Stopped where they are wrong."""
    gunzip = _Gunzip(limits)
    for block in blocks:
        yield from gunzip.feed(block)
    yield from gunzip.end()


class _Gunzip:
    """One or more gzip members behind each other, as `cat a.gz b.gz` makes them."""

    def __init__(self, limits: Limits) -> None:
        self._engine = zlib.decompressobj(_GZIP_WINDOW)
        self._ratio = limits.ratio
        self._taken = self._made = 0

    def feed(self, block: bytes) -> Iterator[bytes]:
        self._taken += len(block)
        rest = block
        while rest:
            if self._engine.eof:
                rest = self._next_member(rest)
                continue
            yield from self._inflated(rest)
            rest = self._engine.unused_data or self._engine.unconsumed_tail

    def end(self) -> Iterator[bytes]:
        yield from self._inflated(b"")
        if not self._engine.eof:
            raise Stopped("gzip_truncated", "the compressed data ends too early")

    def _next_member(self, rest: bytes) -> bytes:
        rest = rest.lstrip(b"\0")  # tapes and disks pad with zeros
        if rest[:1] not in GZIP:
            raise Stopped("gzip_garbage", "other bytes follow the compressed data")
        if rest:
            self._engine = zlib.decompressobj(_GZIP_WINDOW)
        return rest

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        try:
            out = self._engine.decompress(data, BLOCK)
        except zlib.error as bad:
            raise Stopped("gzip_damaged", f"the compressed data is damaged ({bad})") from None
        self._made += len(out)
        if self._made > max(_RATIO_FREE, self._ratio * self._taken):
            raise Stopped("gzip_ratio", f"the data grows to over {self._ratio} times its size")
        if out:
            yield out
