# SPDX-License-Identifier: Apache-2.0
"""The process of one peer: answers requests, a line of JSON each, until its input ends.

It is stopped by its parent between two requests, so that whatever its threads do when idle costs
the others nothing, and each library may wait as it likes within its own turn."""

import gc
import json
import os
from pathlib import Path
import sys
import time

import numpy as np

from libraries import LIBRARIES, Prepared, Refused
from problems import Data, load_data, parse

SAMPLE_SECONDS = 0.02
FEWEST_SAMPLES = 3

# What --check does to a right output. Each must be seen.
CORRUPTIONS = {
    "": lambda y: y,
    "one output off by 1 %": lambda y: _with_one(y, lambda v: v * 1.01),
    "one NaN": lambda y: _with_one(y, lambda v: np.nan),
    "shifted by one": lambda y: np.roll(y, 1, axis=-2),
    "all zeros": np.zeros_like,
}


def _with_one(y: np.ndarray, change) -> np.ndarray:
    y = y.copy()
    at = np.unravel_index(np.argmax(np.abs(y)), y.shape)
    y[at] = change(y[at])
    return y


class Worker:
    def __init__(self, library: str):
        self.library = LIBRARIES[library]
        self.prepared: Prepared | None = None
        self.data: Data | None = None  # libraries read it in place
        self.folder = Path()

    def prepare(self, request: dict) -> dict:
        self.prepared = self.data = None
        gc.collect()  # the last problem's memory goes before the next one's comes
        self.folder = Path(request["folder"])
        problem = parse(request["name"], request["text"])
        self.data = load_data(self.folder)
        self.prepared = self.library.prepare(problem, self.data, request["threads"])
        return {"detail": self.prepared.detail}

    def check(self, request: dict) -> dict:
        """Leaves the outputs at the parent's points in a file."""
        if request["execute"]:
            self.prepared.run()
        y = CORRUPTIONS[request["corruption"]](self.prepared.output())
        points = np.load(self.folder / "points.npy")
        values = y.reshape(-1)[points] if y.size > points.max() else np.empty(0)
        np.save(self.folder / f"{self.library.name}.npy", values)
        return {"shape": list(y.shape), "finite": bool(np.isfinite(y).all())}

    def measure(self, request: dict) -> dict:
        """Samples of the mean time of some executions, after one that is not counted."""
        run = self.prepared.run
        run()
        executions = max(1, round(SAMPLE_SECONDS / max(_seconds(run, 1), 1e-7)))
        samples = []
        gc.disable()
        start, cpu = time.perf_counter(), time.process_time()
        while len(samples) < FEWEST_SAMPLES or time.perf_counter() - start < request["seconds"]:
            samples.append(_seconds(run, executions) / executions * 1e6)
        busy = (time.process_time() - cpu) / (time.perf_counter() - start)
        gc.enable()
        return {"samples_us": samples, "executions": executions, "busy_threads": busy}

    def answer(self, request: dict) -> dict:
        try:
            return getattr(self, request["do"])(request)
        except Refused as refusal:
            return {"refused": str(refusal)}
        except Exception as error:  # a library's own, of any kind: the peer has no time, others do
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return {"error": f"{type(error).__name__}: {first_line}"}


def _seconds(run, executions: int) -> float:
    start = time.perf_counter()
    for _ in range(executions):
        run()
    return time.perf_counter() - start


def main() -> None:
    # Libraries print to standard output, which is the parent's: they get standard error instead.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
