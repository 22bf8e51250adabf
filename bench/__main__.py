"""All questions, one after the other, and then the targets: ``python -m bench [--full]``."""

import subprocess
import sys
import time
from pathlib import Path

import click

from bench.progress import notes, tell

__all__ = ["main"]

# What the long run takes beyond each question's defaults.
_QUESTIONS = {
    "fanout": [],
    "latency": [],
    "slow_clients": ["--rounds", "8", "--seconds", "3"],
    "connections": [],
    "ingest": [],
}


@click.command()
@click.option("--full", is_flag=True, help="What is quoted, instead of: does it all work?")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/bench"),
    show_default=True,
    help="Where JSON and plots go.",
)
def main(full: bool, output: Path) -> None:
    """Measure everything; a question that fails does not keep the others from being asked."""
    failed = []
    for question, more in _QUESTIONS.items():
        started = time.monotonic()
        how = more if full else ["--short"]
        command = [sys.executable, "-m", f"bench.{question}", *how, "--output", str(output)]
        if subprocess.run(command, check=False).returncode:
            failed.append(question)
            tell(f"{question} has failed: python -m bench.{question} says why")
        notes.print(f"{question}: {time.monotonic() - started:.0f} s")
    subprocess.run([sys.executable, "-m", "bench.targets", "--output", str(output)], check=False)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
