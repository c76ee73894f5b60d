# SPDX-License-Identifier: Apache-2.0
"""What a run found, as JSON and as Markdown."""

import json
from math import exp, log
import os
from pathlib import Path
import re

# A peer's call through Python that takes more than this part of its time is marked.
NOTABLE_CALL = 0.05


# A peer that keeps this many more threads busy than it was given is named.
SPARE_THREADS = 0.3


def best_peer(problem: dict) -> tuple[str, float] | None:
    timed = [(row["time_us"], name) for name, row in problem["peers"].items() if row["time_us"]]
    return (min(timed)[1], min(timed)[0]) if timed else None


def ratio(problem: dict) -> float | None:
    """Time of the best peer / time of ours: above 1 is faster."""
    best, ours = best_peer(problem), problem["ours"]["time_us"]
    return best[1] / ours if best and ours else None


def write(folder: Path, run: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "peers.json", json.dumps(run, indent=1) + "\n")
    _replace(folder / "peers.md", markdown(run))


def _replace(path: Path, text: str) -> None:
    """A killed run leaves the earlier file whole."""
    beside = path.with_suffix(path.suffix + ".new")
    beside.write_text(text)
    os.replace(beside, path)


def markdown(run: dict) -> str:
    sections = [_title(run), _machine(run), _notes(run), _table(run), _summary(run)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _title(run: dict) -> str:
    text = (
        "# metalconv beside other CPU libraries\n\n"
        "Median times of verified results in microseconds, measured in alternating rounds. "
        "The ratio is the time of the best peer / ours: above 1 is faster. "
        f"`*`: the call from Python takes more than {NOTABLE_CALL:.0%} of that time."
    )
    if run["interrupted"]:
        text += "\n\n**The run was interrupted: these are the problems that were complete.**"
    return text


def _machine(run: dict) -> str:
    lines = {**run["machine"], "rounds": str(run["rounds"])}
    lines["started"] = run["started"]
    lines["command"] = f"`{run['command']}`"
    for name, peer in run["libraries"].items():
        call = peer["call_us"]
        lines[name] = peer["version"] + (f", a call takes {call:.1f} us" if call else "")
    rows = "\n".join(f"| {key} | {value} |" for key, value in lines.items())
    return f"| machine | |\n|---|---|\n{rows}"


def _peer_names(run: dict) -> list[str]:
    names: dict[str, None] = {}
    for problem in run["problems"]:
        names |= dict.fromkeys(problem["peers"])
    return list(names)


def _table(run: dict) -> str:
    names = _peer_names(run)
    head = ["problem", "ours", "kernel", "of roofline", *names, "best peer", "best peer / ours"]
    aligned = ["---", "--:", "---", "--:", *["--:"] * len(names), "---", "--:"]
    lines = [_line(head), _line(aligned)]
    for problem in run["problems"]:
        ours, best, factor = problem["ours"], best_peer(problem), ratio(problem)
        percent = ours["roofline_percent"]
        lines.append(
            _line(
                [
                    _name(problem),
                    _time(ours),
                    ours["kernel"],
                    f"{percent:.0f} %" if percent else "",
                    *(_peer_time(run, name, problem) for name in names),
                    best[0] if best else "",
                    f"{factor:.2f}x" if factor else "",
                ]
            )
        )
    return "\n".join(lines)


def _name(problem: dict) -> str:
    """The name, and the text without the fields that are as they are by default."""
    text = re.sub(r",(s1|p0|d1|g1|f32|nchw)(?=,|$)", "", problem["text"])
    return f"`{text}`" if problem["name"] == problem["text"] else f"{problem['name']} `{text}`"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _time(row: dict) -> str:
    if row["time_us"]:
        return f"{row['time_us']:.4g}" if row["time_us"] < 1e4 else f"{row['time_us']:.0f}"
    return "FAILED" if row["verdict"] == "failed" else "-"


def _peer_time(run: dict, name: str, problem: dict) -> str:
    row = problem["peers"].get(name)
    if row is None:
        return "-"
    call = run["libraries"].get(name, {}).get("call_us")
    dominated = row["time_us"] and call and call > NOTABLE_CALL * row["time_us"]
    return _time(row) + ("*" if dominated else "")


def _summary(run: dict) -> str:
    lines = []
    for name in _peer_names(run):
        factors = [
            problem["peers"][name]["time_us"] / problem["ours"]["time_us"]
            for problem in run["problems"]
            if problem["ours"]["time_us"] and problem["peers"].get(name, {}).get("time_us")
        ]
        if factors:
            lines.append(_of_all(f"{name} / ours", factors))
    factors = {p["name"]: r for p in run["problems"] if (r := ratio(p))}
    if factors:
        worst = min(factors, key=factors.get)
        lines.append(f"{_of_all('**best peer / ours**', list(factors.values()))} at {worst}")
    return "\n".join(lines)


def _of_all(what: str, factors: list[float]) -> str:
    mean = exp(sum(log(f) for f in factors) / len(factors))
    count = f"{len(factors)} problem" + ("s" if len(factors) > 1 else "")
    return f"- {what}, {count}: geometric mean {mean:.2f}x, minimum {min(factors):.2f}x"


def _notes(run: dict) -> str:
    lines = [f"- {warning}" for warning in run["warnings"]]
    lines += [f"- {name}: {reason}" for name, reason in run["left_out"].items()]
    for problem in run["problems"]:
        for name, row in {"ours": problem["ours"], **problem["peers"]}.items():
            if row["reason"]:
                lines.append(f"- {name} on {problem['name']}: {row['verdict']}, {row['reason']}")
            if max(row["busy_threads"], default=0) > run["threads"] + SPARE_THREADS:
                busy = max(row["busy_threads"])
                lines.append(f"- {name} on {problem['name']}: kept {busy:.1f} threads busy")
    return "\n".join(lines)
