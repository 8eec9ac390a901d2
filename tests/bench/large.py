"""The card of a table of 10,000,000 rows × 20 columns, in a process of its own: `python large.py pandas`; prints JSON."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import narwhals
import numpy as np
import pyarrow as pa

from comet_magic.describe import frames, tables
from comet_magic.describe.description import Limits
from comet_magic.describe.question import question
from comet_magic.settings import CometSettings

ROWS = 10_000_000


def columns(rows: int) -> pa.Table:
    random = np.random.default_rng(0)
    made: dict[str, Any] = {f"f{n}": random.normal(size=rows) for n in range(8)}
    made |= {f"i{n}": random.integers(0, 1000, size=rows) for n in range(4)}
    made |= {f"b{n}": random.random(rows) > 0.5 for n in range(2)}
    start = np.datetime64("2020-01-01")
    made |= {f"t{n}": start + random.integers(0, 10**8, size=rows).astype("timedelta64[s]") for n in range(2)}
    words = pa.array([f"city {n}" for n in range(1000)])
    made |= {f"s{n}": words.take(pa.array(random.integers(0, 1000, size=rows))) for n in range(4)}
    return pa.table(made)


def as_library(made: pa.Table, library: str) -> Any:
    match library:
        case "pandas":
            return made.to_pandas()
        case "polars":
            import polars

            return polars.from_arrow(made)
        case "duckdb":
            import duckdb

            connection = duckdb.connect()
            connection.execute("CREATE TABLE large AS SELECT * FROM made")
            return connection.table("large")
    return made


def resident_mb() -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1000


def seconds(run: Any, times: int) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return median(took)


def exact_alone(table: Any) -> None:
    """What a card that is exact in nulls, min and max cannot do without."""
    frame: Any = narwhals.from_native(table)
    names = {name: str(place) for place, name in enumerate(frame.collect_schema().names())}
    frame = frame.rename(names)
    outline = frames.FrameSample(list(names), [""] * len(names), range(len(names)), rows=ROWS)
    frames._exact(frame, frame.collect_schema(), outline, narwhals)


def main() -> None:
    bounds = Limits()
    small = as_library(columns(1000), sys.argv[1])
    small_ms = seconds(lambda: tables.table(small, bounds), 30) * 1e3
    large = as_library(columns(ROWS), sys.argv[1])
    first = tables.table(large, bounds)  # what is loaded at the first one counts as the library's
    per_column = sum(len(line) for line in first.text.splitlines()[3:23]) / 20
    assert first.text.splitlines()[22].startswith("s3 (")
    peaks, base, done = [0.0], resident_mb(), threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peaks.append(resident_mb() - base)

    watcher = threading.Thread(target=watch)
    watcher.start()
    took = seconds(lambda: tables.table(large, bounds), 3)
    done.set()
    watcher.join()
    prompt = "word { and } " * 80_000
    print(
        json.dumps(
            {
                "large": took,
                "exact": seconds(lambda: exact_alone(large), 3),
                "extra": max(peaks),
                "small": small_ms,
                "characters": per_column,
                "prompt": seconds(lambda: question(prompt, CometSettings.instance(), {}), 15) * 1e3,
            }
        )
    )


if __name__ == "__main__":
    main()
