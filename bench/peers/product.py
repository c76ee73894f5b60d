# SPDX-License-Identifier: Apache-2.0
"""metalconv through its command: its problems, and one round of its own times and oneDNN's."""

from dataclasses import dataclass
import json
from pathlib import Path
import subprocess

from problems import Problem, parse


class Failed(Exception):
    """The command did not do what it was asked, and what it said."""


@dataclass(frozen=True)
class Row:
    kernel: str
    ours: bool
    verdict: str
    reason: str
    detail: str
    time_us: float | None
    roof_us: float | None


def list_problems(binary: Path, targets: list[str]) -> list[Problem]:
    done = subprocess.run([binary, "list", *targets], capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip())
    # Texts hold no blanks; the name of a problem that has none is its text.
    return [parse(*line.rsplit(maxsplit=1)) for line in done.stdout.splitlines()]


def bench(
    binary: Path, problem: Problem, threads: int, seconds: float, folder: Path, first: bool
) -> tuple[dict[str, str], list[Row]]:
    """The machine, and the rows of the problem: the planner's choice of ours, and every oneDNN."""
    output = folder / "metalconv.json"
    output.unlink(missing_ok=True)
    command = [
        binary,
        "bench",
        problem.text,
        "--device=cpu",
        "--implementation=optimized,vendor",
        f"--threads={threads}",
        f"--budget={seconds:g}",
        f"--json={output}",
    ]
    if not first:
        command.append("--no-trial")  # the first round has seen whether a vendor crashes
    # In its own process group Ctrl-C reaches only this program, which then ends it.
    done = subprocess.run(command, capture_output=True, text=True, process_group=0)
    if not output.exists():
        raise Failed(done.stderr.strip() or f"metalconv ended with status {done.returncode}")
    result = json.loads(output.read_text())
    return result["machine"], [_row(row) for row in result["results"]]


def _row(row: dict) -> Row:
    return Row(
        kernel=row["kernel"],
        ours=row["implementation"] == "optimized",
        verdict=row["verdict"],
        reason=row["reason"],
        detail=row["detail"],
        time_us=(row["time_us"] or {}).get("median"),
        roof_us=row["roof_us"],
    )
