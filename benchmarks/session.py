"""Worker processes seen from outside: start, ask, give up on, start again. No failure of theirs is one of ours."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def environment(threads: int) -> dict[str, str]:
    """The same number of threads for everyone, whatever library they are built on."""
    one = str(threads)
    names = ("OMP", "MKL", "OPENBLAS", "NUMBA", "KERNELS")
    flags = os.environ.get("XLA_FLAGS", "")
    if threads == 1:
        flags += " --xla_cpu_multi_thread_eigen=false"
    own = {f"{name}_NUM_THREADS": one for name in names}
    # NPROC is what XLA sizes its pool by.
    return {**os.environ, **own, "NPROC": one, "XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"}


class WorkerProcess:
    """One peer's process. An answer that does not come is an answer, too: it has "ok" false and a reason."""

    def __init__(self, name: str, module: str, threads: int) -> None:
        self.name, self.module, self.threads = name, module, threads
        self.process: subprocess.Popen[bytes] | None = None
        self.buffer = b""

    def start(self) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", self.module, str(self.threads)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment(self.threads),
        )
        self.buffer = b""

    def ask(self, within: float, **request: Any) -> dict[str, Any]:
        """The answer, within so many seconds."""
        if self.process is None:
            self.start()
            if request["do"] != "hello":
                hello = self.ask(max(within, 60), do="hello")
                if not hello["ok"]:
                    return hello
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            line = self._line(time.monotonic() + within)
        except BrokenPipeError:
            line = b""
        if line is None:
            self.kill()
            return {"ok": False, "sort": "timeout", "reason": f"no answer within {within:.0f} s"}
        if not line:
            code = self.process.wait()
            self.kill()
            return {"ok": False, "sort": "died", "reason": f"the process {ended(code)}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _line(self, until: float) -> bytes | None:
        """The next line, nothing at the end of the stream, None when time is up."""
        assert self.process is not None
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                if not selector.select(max(0.0, until - time.monotonic())):
                    return None
                piece = os.read(self.process.stdout.fileno(), 1 << 16)
                if not piece:
                    return b""
                self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def kill(self) -> None:
        """End the process; the next request starts another."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # an unwritten rest, for a process that is no more
                        pipe.close()
            self.process = None


def ended(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"exited with status {code}"
