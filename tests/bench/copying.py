"""COPY of the rows that something of ours has stored: what storing them costs at the least."""

from __future__ import annotations

import time

import psycopg


def copied_out(url: str, query: str) -> bytes:
    """The rows of a query as COPY writes them."""
    with (
        psycopg.connect(url) as db,
        db.cursor() as cursor,
        cursor.copy(f"COPY ({query}) TO STDOUT") as copy,
    ):
        return b"".join(map(bytes, copy))


def copied_in(url: str, tables: dict[str, bytes]) -> float:
    """The seconds of COPY, all of it in one transaction on one connection."""
    with psycopg.connect(url) as db, db.cursor() as cursor:
        began = time.perf_counter()
        for table, rows in tables.items():
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                copy.write(rows)
        db.commit()
        return time.perf_counter() - began
