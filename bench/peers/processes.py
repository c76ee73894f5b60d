# SPDX-License-Identifier: Apache-2.0
"""The processes of the peers, each of which runs only while it answers."""

import json
import os
from pathlib import Path
import select
import signal
import subprocess
import sys

HERE = Path(__file__).resolve().parent
PATIENCE_SECONDS = 180  # for one answer


class Peer:
    """A library in its process, which runs only while it answers."""

    def __init__(self, name: str, log):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, HERE / "worker.py", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            process_group=0,
        )

    def ask(self, do: str, **request: object) -> dict:
        """The answer; one with "error" when the process came to grief, which ends it."""
        if self.process.poll() is not None:
            return {"error": "the library's process has ended"}
        os.kill(self.process.pid, signal.SIGCONT)
        try:
            print(json.dumps({"do": do, **request}), file=self.process.stdin, flush=True)
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_SECONDS)
            line = self.process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = True, ""
        if line:
            os.kill(self.process.pid, signal.SIGSTOP)
            return json.loads(line)
        self.end()
        status = self.process.returncode
        why = f"it ended with status {status}" if ready else f"no answer in {PATIENCE_SECONDS} s"
        return {"error": f"the library's process was lost: {why}"}

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Peers:
    """All the peers that are installed. One that was lost is started anew for the next problem."""

    def __init__(self, names: list[str], log):
        self.log = log
        self.all = {name: Peer(name, log) for name in names}

    def revive(self) -> None:
        for name, peer in self.all.items():
            if peer.process.poll() is not None:
                self.all[name] = Peer(name, self.log)

    def end(self) -> None:
        for peer in self.all.values():
            peer.end()
