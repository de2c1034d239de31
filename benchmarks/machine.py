"""The machine that a run describes: processor, the vector flags that matter, caches, memory, libraries."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "amx_tile", "asimd", "sve")


def describe() -> dict[str, Any]:
    import numba

    info = cpuinfo()
    flags = set(info.get("flags", info.get("Features", "")).split())
    return {
        "processor": info.get("model name", platform.processor() or platform.machine()),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "caches": caches(),
        "memory": memory(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "threading_layer": str(numba.config.THREADING_LAYER),
        "numba_target": numba_target(),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def numba_target() -> str:
    from numba.core.registry import cpu_target

    return str(cpu_target.target_context.codegen().magic_tuple()[1])


def cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; nothing on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def caches() -> dict[str, int]:
    """Bytes of each cache that processor 0 sees: {"L1d": 49152, ...}; empty where the system does not say."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}" + ("d" if kind == "Data" else "")] = int(size.rstrip("K")) * 1024
    return found


def memory() -> int:
    """Bytes of main memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
