"""Run all questions one after the other, then the targets: ``python -m bench [--full]``."""

import subprocess
import sys
import time
from pathlib import Path

import click

from bench.options import output_option
from bench.progress import console, warn

__all__ = ["main"]

# Arguments of each question in a full run, besides its defaults.
_QUESTIONS = {
    "fanout": [],
    "latency": [],
    "slow_clients": ["--rounds", "8", "--seconds", "3"],
    "connections": [],
    "ingest": [],
}


@click.command()
@click.option("--full", is_flag=True, help="Measure figures to quote, not only a short run.")
@output_option
def main(full: bool, output: Path) -> None:
    """Measure all questions; one that fails does not stop the others."""
    failed = []
    for question, full_arguments in _QUESTIONS.items():
        started = time.monotonic()
        arguments = full_arguments if full else ["--short"]
        command = [sys.executable, "-m", f"bench.{question}", *arguments, "--output", str(output)]
        if subprocess.run(command, check=False).returncode:
            failed.append(question)
            warn(f"{question} failed; run python -m bench.{question} alone to see why")
        console.print(f"{question}: {time.monotonic() - started:.0f} s")
    subprocess.run([sys.executable, "-m", "bench.targets", "--output", str(output)], check=False)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
