"""The capture client, for other people's generators: docs/capture.md is its contract.

Its rule: it imports nothing but the standard library until a client is made, then redis-py.
"""

from tdsys.client.capturing import CaptureClient
from tdsys.client.folders import BATCH_BYTES, BATCH_RECORDS
from tdsys.client.programs import Program, Programs, current_program
from tdsys.client.record import MAX_DEPTH, MAX_RECORD_BYTES, Serialiser, Unfit
from tdsys.client.shipping import IN_FLIGHT, Flushed, Shipper
from tdsys.client.spool import FileSpool, MemorySpool, Spool

__all__ = [
    "BATCH_BYTES",
    "BATCH_RECORDS",
    "IN_FLIGHT",
    "MAX_DEPTH",
    "MAX_RECORD_BYTES",
    "CaptureClient",
    "FileSpool",
    "Flushed",
    "MemorySpool",
    "Program",
    "Programs",
    "Serialiser",
    "Shipper",
    "Spool",
    "Unfit",
    "current_program",
]
