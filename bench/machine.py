"""The machine under the bench: its description, and its limit of file descriptors."""

import os
import platform
import resource
import sys
import sysconfig
from contextlib import suppress
from typing import Any

import psutil

from bench.errors import MeasurementError

__all__ = ["machine", "raise_file_limit"]

# Read at import, before the bench itself adds to the load.
_LOAD_AVERAGE = os.getloadavg()[0]

# Descriptors of a process besides its connections.
_SPARE_FILES = 100


def machine() -> dict[str, Any]:
    """Describe processor, memory, system and interpreter, for the JSON of a result."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_version()} ({os.path.realpath(sys.executable)})",
        # An interpreter built without optimisations is 10-20 % slower.
        "python_built_with": sysconfig.get_config_var("CONFIG_ARGS"),
        "load_average_at_start": _LOAD_AVERAGE,
    }


def _cpu_model() -> str:
    with suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def raise_file_limit(connections: int) -> None:
    """Allow this process and its children to open that many connections.

    Raises:
        MeasurementError: the hard limit is too low.
    """
    wanted = connections + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise MeasurementError(
            f"{connections} connections need {wanted} file descriptors, the limit is {hard}:"
            f" raise it (ulimit -Hn {wanted}) or take fewer"
        )
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
