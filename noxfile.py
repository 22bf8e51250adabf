"""One session per check: ``nox`` runs the usual ones, ``nox -l`` lists all.

Sessions install from PyPI only. Tests that need other tools (curl, nginx, chromium) are skipped
without them; ``.ci/run`` installs them all.
"""

import nox

nox.options.sessions = ["tests-3.11", "lint", "types"]
nox.options.reuse_venv = "yes"

# Percent of lines and branches; raise it when the figure rises.
COVERAGE_FLOOR = 99

# The rules of flake8-async that ruff lacks. Not on: ASYNC910 and its like ask for a checkpoint on
# every path through every async function, while ours return at once where there is nothing to wait
# for. ASYNC900 is on: an async generator that is no context manager is cleaned up at an
# unknown time.
FLAKE8_ASYNC = [
    "--isolated",
    "--select=ASYNC1,ASYNC2,ASYNC3,ASYNC900",
    # ASYNC114 needs a hand-kept list of all functions that nurseries start.
    # ASYNC124: Quart runs handlers that are not async in threads, so all of them are async.
    # ASYNC128 does not see a `task_status` that is passed on, as in the demo.
    "--extend-ignore=ASYNC114,ASYNC124,ASYNC128",
]


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the tests in two processes; arguments after ``--`` go to pytest."""
    session.install(".[test]")
    # Files stay together, as fixtures may be shared. More processes would slow down the tests that
    # start servers and clients of their own.
    session.run("pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests with branch coverage; fails below the floor."""
    session.install("-e", ".[test]")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-n", "2", "--dist", "loadfile")
    session.run("coverage", "combine", "-q")
    session.run("coverage", "report", f"--fail-under={COVERAGE_FLOOR}")


@nox.session
def hostile(session: nox.Session) -> None:
    """Open and close 100,000 connections; takes some minutes."""
    session.install(".[test]")
    session.run(
        "pytest", "tests/hostile/test_masses.py", "--come-and-go=100000", "--timeout=0", "-s"
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and the use of Trio."""
    session.install(".[lint]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("flake8", *FLAKE8_ASYNC, "ryze")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types."""
    # With the peers of the bench, as their programs are checked too.
    session.install(".[types,bench]")
    session.run("mypy")


@nox.session
def schema(session: nox.Session) -> None:
    """Generate the published documents in ``schema/``."""
    session.install(".")
    session.run("python", "-m", "ryze.api.write_documents", "schema")


@nox.session
def soak(session: nox.Session) -> None:
    """Run a server under mixed load: ``nox -s soak -- --minutes 10``; see ``--help``."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.soak", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks, briefly; ``nox -s bench -- full`` for figures to quote."""
    session.install("-e", ".[bench]")
    how = ["--full"] if "full" in session.posargs else []
    session.run("python", "-m", "bench", *how)
