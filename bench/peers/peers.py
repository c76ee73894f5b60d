# SPDX-License-Identifier: Apache-2.0
"""Measures metalconv and the CPU libraries beside it on the same problems and the same data."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
import os
from pathlib import Path
import random
import shlex
from statistics import median
import sys
import tempfile

import numpy as np

from libraries import LIBRARIES
from problems import Problem, Reference, Verdict, compare, make_data, parse, reference_of, save_data
from problems import with_layout
from processes import Peer, Peers
import product
import tables
from worker import CORRUPTIONS

# So little work that its time is that of the call.
CALL_PROBLEM = "1x8x4x4,k8,1x1,s1,p0,d1,g1,f32,{layout},bias"
CHECK_PROBLEMS = (
    "1x3x13x18,k8,3x3,s1,p1,d1,g1,f32,{layout},bias",
    "2x8x12x11,k8,3x3,s2,p1,d1,g8,f32,{layout},bias",
)


class Progress:
    """One moving line on a terminal, or, where nobody watches, a line a problem."""

    def __init__(self) -> None:
        self.moving = sys.stderr.isatty()

    def show(self, text: str) -> None:
        if self.moving:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def keep(self, text: str) -> None:
        print(f"\r\033[K{text}" if self.moving else text, file=sys.stderr, flush=True)


def new_row() -> dict:
    return {
        "verdict": "ok",
        "reason": "",
        "detail": "",
        "time_us": None,
        "worst_error_units": None,
        "busy_threads": [],
        "rounds_us": [],
        "samples_us": [],
    }


def give_up(row: dict, verdict: str, reason: str) -> None:
    row.update(verdict=verdict, reason=reason, time_us=None, rounds_us=[], samples_us=[])


def set_up(problem: Problem, folder: Path) -> Reference:
    """The data and the points to compare, where the peers find them."""
    data = make_data(problem)
    save_data(folder, data)
    reference = reference_of(problem, data)
    np.save(folder / "points.npy", reference.points)
    return reference


def checked(
    peer: Peer,
    problem: Problem,
    reference: Reference,
    folder: Path,
    execute: bool,
    corruption: str = "",
) -> Verdict:
    """Whether the peer's output is right; without `execute`, that of its last timed execution."""
    answer = peer.ask("check", execute=execute, corruption=corruption)
    if "error" in answer:
        return Verdict(False, answer["error"], float("nan"))
    if tuple(answer["shape"]) != problem.y_shape:
        return Verdict(False, f"the output has the shape {answer['shape']}", float("nan"))
    return compare(reference, np.load(folder / f"{peer.name}.npy"), answer["finite"])


def prepare(
    peer: Peer, problem: Problem, reference: Reference, threads: int, folder: Path
) -> dict:
    """The peer's row, verified or with the reason why it is not."""
    row = new_row()
    answer = peer.ask(
        "prepare", name=problem.name, text=problem.text, folder=str(folder), threads=threads
    )
    if reason := answer.get("refused") or answer.get("error"):
        give_up(row, "skipped", reason)
    else:
        row["detail"] = answer["detail"]
        judge(row, checked(peer, problem, reference, folder, execute=True))
    return row


def judge(row: dict, verdict: Verdict) -> None:
    row["worst_error_units"] = verdict.worst if np.isfinite(verdict.worst) else None
    if not verdict.ok:
        give_up(row, "failed", verdict.reason)


def time_peer(peer: Peer, row: dict, seconds: float) -> None:
    answer = peer.ask("measure", seconds=seconds)
    if "error" in answer:
        give_up(row, "failed", answer["error"])
        return
    row["samples_us"].append(answer["samples_us"])
    row["rounds_us"].append(median(answer["samples_us"]))
    row["busy_threads"].append(round(answer["busy_threads"], 2))


class ProblemRun:
    """One problem: everyone verified, then timed in rounds of random order."""

    def __init__(self, problem: Problem, peers: Peers, arguments: argparse.Namespace, folder: Path):
        self.problem, self.peers, self.arguments, self.folder = problem, peers, arguments, folder
        self.machine: dict[str, str] = {}
        self.ours = new_row() | {"kernel": "", "roof_us": None}
        self.vendors: dict[str, dict] = {}
        self.rows: dict[str, dict] = {}

    def run(self, say: Callable[[str], None]) -> dict:
        say("reference")
        reference = set_up(self.problem, self.folder)
        self.peers.revive()
        for name, peer in self.peers.all.items():
            say(f"verifying {name}")
            self.rows[name] = prepare(
                peer, self.problem, reference, self.arguments.threads, self.folder
            )
        for number in range(self.arguments.rounds):
            self.round(number, say)
        for name, peer in self.peers.all.items():
            if self.rows[name]["verdict"] == "ok":
                say(f"verifying {name} again")
                verdict = checked(peer, self.problem, reference, self.folder, execute=False)
                judge(self.rows[name], verdict)
        return self.result(reference)

    def round(self, number: int, say: Callable[[str], None]) -> None:
        turns = [n for n, row in self.rows.items() if row["verdict"] == "ok"] + ["metalconv"]
        random.shuffle(turns)
        for name in turns:
            say(f"round {number + 1} of {self.arguments.rounds}, {name}")
            if name == "metalconv":
                self.time_ours(first=number == 0)
            else:
                time_peer(self.peers.all[name], self.rows[name], self.arguments.seconds)

    def time_ours(self, first: bool) -> None:
        # Ours and each oneDNN share the budget.
        budget = 3 * self.arguments.seconds
        self.machine, rows = product.bench(
            self.arguments.binary, self.problem, self.arguments.threads, budget, self.folder, first
        )
        for found in rows:
            row = self.ours if found.ours else self.vendors.setdefault(found.kernel, new_row())
            row["detail"] = found.detail
            if found.ours:
                row["kernel"] = found.kernel
            if found.verdict != "ok":
                give_up(row, found.verdict, found.reason)
            elif row["verdict"] == "ok" and found.time_us:
                row["rounds_us"].append(found.time_us)
                if found.ours:  # the best roof of all rounds is the machine's
                    row["roof_us"] = min(row["roof_us"] or found.roof_us, found.roof_us)

    def result(self, reference: Reference) -> dict:
        peers = self.vendors | self.rows
        for row in [self.ours, *peers.values()]:
            if row["rounds_us"]:
                row["time_us"] = median(row["rounds_us"])
        ours = self.ours
        roofline = 100 * ours["roof_us"] / ours["time_us"] if ours["time_us"] else None
        ours["roofline_percent"] = roofline
        result = {
            "name": self.problem.name,
            "text": self.problem.text,
            "compared": f"{len(reference.points)} of {reference.total} outputs",
            "ours": ours,
            "peers": peers,
        }
        return result | {"ratio_best_peer": tables.ratio(result)}


def call_times(
    peers: Peers, arguments: argparse.Namespace, folder: Path
) -> dict[str, float | None]:
    """What an execution costs each peer where there is nothing to compute."""
    problem = parse("call", CALL_PROBLEM.format(layout=arguments.layout))
    reference = set_up(problem, folder)
    times: dict[str, float | None] = {}
    for name, peer in peers.all.items():
        row = prepare(peer, problem, reference, 1, folder)
        if row["verdict"] == "ok":
            time_peer(peer, row, 0.2)
        times[name] = min(row["samples_us"][0]) if row["samples_us"] else None
    return times


def check(peers: Peers, arguments: argparse.Namespace, folder: Path) -> int:
    """Right outputs must be accepted and corrupted ones refused, of every peer."""
    failures = 0
    for text in CHECK_PROBLEMS:
        problem = parse("check", text.format(layout=arguments.layout))
        reference = set_up(problem, folder)
        for name, peer in peers.all.items():
            row = prepare(peer, problem, reference, arguments.threads, folder)
            if row["verdict"] == "skipped":
                print(f"{name}: left out of {problem.text}: {row['reason']}")
                continue
            for corruption in CORRUPTIONS:
                verdict = checked(peer, problem, reference, folder, True, corruption)
                right = verdict.ok == (corruption == "")
                failures += not right
                print(
                    f"{'ok' if right else 'WRONG':6}{name:12} {corruption or 'as it is':22} "
                    f"{'accepted' if verdict.ok else verdict.reason}"
                )
    print(f"{failures} wrong" if failures else "every corrupted output was refused")
    return 1 if failures else 0


def measure(
    problems: list[Problem],
    peers: Peers,
    arguments: argparse.Namespace,
    run: dict,
    folder: Path,
) -> int:
    progress = Progress()
    try:
        progress.show("measuring the calls")
        for name, call in call_times(peers, arguments, folder).items():
            run["libraries"][name]["call_us"] = call
        for number, problem in enumerate(problems, 1):
            where = f"[{number}/{len(problems)}] {problem.name}"
            one = ProblemRun(problem, peers, arguments, folder)
            result = one.run(lambda what: progress.show(f"{where}: {what}"))
            run["machine"] = one.machine
            run["problems"].append(result)
            tables.write(arguments.output, run)
            factor = result["ratio_best_peer"]
            best = f"best peer / ours {factor:.2f}x" if factor else "no ratio"
            progress.keep(f"{where}: {best}")
    except KeyboardInterrupt:
        run["interrupted"] = True
        progress.keep("interrupted: the problem at hand is left out")
    if not run["problems"]:
        return 130
    tables.write(arguments.output, run)
    print(tables.markdown(run))
    print(f"wrote {arguments.output}/peers.md and peers.json")
    if run["interrupted"]:
        return 130
    rows = [row for p in run["problems"] for row in (p["ours"], *p["peers"].values())]
    return 1 if any(row["verdict"] == "failed" for row in rows) else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/peers/run", description=__doc__)
    add = parser.add_argument
    add("targets", nargs="*", default=["cpu-classes"], metavar="PROBLEM",
        help="workloads of metalconv, or texts with bias (default: cpu-classes)")
    add("--only", metavar="SUBSTRING", default="", help="problems whose name or text has it")
    add("--peers", metavar="NAMES", default=",".join(LIBRARIES),
        help="some of %(default)s; oneDNN comes with metalconv")
    add("--rounds", type=int, default=5, metavar="N", help="a problem (default: %(default)s)")
    add("--seconds", type=float, default=0.5, metavar="S",
        help="of samples for a library in a round (default: %(default)s)")
    add("--threads", type=int, default=2, metavar="N", help="of everyone (default: %(default)s)")
    add("--layout", choices=["nchw", "nhwc"], default="nchw",
        help="of the activations (default: %(default)s)")
    add("--output", type=Path, default=Path("report"), metavar="DIR",
        help="where peers.md and peers.json go (default: %(default)s)")
    add("--check", action="store_true",
        help="show on tiny problems that corrupted outputs are refused; measure nothing")
    add("--binary", type=Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.threads) < 1 or arguments.seconds <= 0:
        parser.error("rounds, threads and seconds must be above 0")
    if unknown := set(arguments.peers.split(",")) - set(LIBRARIES):
        names = ", ".join(sorted(unknown))
        parser.error(f"no such peer: {names}; there are {', '.join(LIBRARIES)}")
    return arguments


def command_line() -> str:
    words = sys.argv[1:]
    at = words.index("--binary")  # which bench/peers/run adds
    return shlex.join(["bench/peers/run", *words[:at], *words[at + 2 :]])


def load_warning() -> list[str]:
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load < 0.25 * processors:
        return []
    return [f"The load average was {load:.1f} on {processors} processors when the run began."]


def main() -> int:
    arguments = parse_arguments()
    wanted = arguments.peers.split(",")
    versions = {name: LIBRARIES[name].version() for name in wanted}
    run = {
        "schema": 1,
        "command": command_line(),
        "started": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "interrupted": False,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "warnings": load_warning(),
        "machine": {},
        "libraries": {n: {"version": v, "call_us": None} for n, v in versions.items() if v},
        "left_out": {n: "not installed" for n, v in versions.items() if not v},
        "problems": [],
    }
    for name, reason in run["left_out"].items():
        print(f"going on without {name}: {reason}", file=sys.stderr)
    try:
        problems = product.list_problems(arguments.binary, arguments.targets)
    except (product.Failed, ValueError) as error:
        print(f"peers: {error}", file=sys.stderr)
        return 2
    problems = [with_layout(p, arguments.layout) for p in problems]
    problems = [p for p in problems if arguments.only in f"{p.name} {p.text}"]
    if not problems:
        print(f"peers: no problem has '{arguments.only}' in its name or text", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context(open(folder / "log", "w"))
        peers = Peers(list(run["libraries"]), log)
        stack.callback(peers.end)
        try:
            if arguments.check:
                return check(peers, arguments, folder)
            return measure(problems, peers, arguments, run, folder)
        except product.Failed as error:
            print(f"peers: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
