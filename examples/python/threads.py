"""A client that blocks, shared by threads; no asyncio in sight."""

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pantler
from pantler import codecs

RUN = uuid4().hex[:8]  # keys of this run, so that it begins with nothing

client = pantler.Client(os.environ.get("PANTLER_ADDRESS", "127.0.0.1:50051"))
reports = client.namespace("reports", codec=codecs.TEXT, ttl=timedelta(minutes=5))
calls: Counter[int] = Counter()


@reports.cached("{run}/{month}")
def make_report(run: str, month: int) -> str:
    calls[month] += 1
    time.sleep(0.2)  # in the thread that asks
    return f"report of month {month}, run {run}"


with client, ThreadPoolExecutor(16) as threads:
    made = list(threads.map(lambda number: make_report(RUN, number % 4), range(400)))
    print(f"{len(made)} reports of {len(set(made))} months, made {calls.total()} times")
