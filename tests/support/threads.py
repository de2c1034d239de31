"""Several Python threads at the same work."""

from __future__ import annotations

import threading
from typing import Any


def together(work: Any, count: int = 4) -> None:
    """work(n) in `count` Python threads; raises what one of them raised."""
    failed: list[BaseException] = []
    start = threading.Barrier(count)

    def run(n: int) -> None:
        try:
            start.wait()
            work(n)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]
