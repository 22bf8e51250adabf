"""The checks, each a session: ``nox`` runs the usual ones, ``nox -l`` lists all.

Only what pip can install is installed here. Tests that need more (curl, nginx, chromium)
are skipped without it; ``.ci/run`` sees to it that nothing is missing.
"""

import nox

nox.options.sessions = ["tests-3.11", "lint", "types"]
nox.options.reuse_venv = "yes"

# ruff has the rules that it shares with flake8-async; this is about the others. Not on:
# ASYNC910 and its like ask for a checkpoint on every path through every async function, while
# ours return at once where there is nothing to wait for. ASYNC900 is worth it: an async
# generator that is no context manager is cleaned up who knows when.
FLAKE8_ASYNC = [
    "--isolated",
    "--select=ASYNC1,ASYNC2,ASYNC3,ASYNC900",
    # ASYNC114 wants a list of all functions that nurseries start, to be kept up by hand.
    # ASYNC124: Quart runs handlers that are not async in threads, so all of them are async.
    # ASYNC128 does not see that a function hands its `task_status` on, as the demo's `run` does.
    "--extend-ignore=ASYNC114,ASYNC124,ASYNC128",
]


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the tests, in two processes; what stands behind ``--`` goes to pytest."""
    session.install(".[test]")
    # A file stays together: its fixtures may be shared. More processes would be in the way of the
    # tests that start servers and clients of their own.
    session.run("pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session
def hostile(session: nox.Session) -> None:
    """A hundred thousand connections come and go; some minutes."""
    session.install(".[test]")
    session.run(
        "pytest", "tests/hostile/test_masses.py", "--come-and-go=100000", "--timeout=0", "-s"
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, and that Trio is used as it should be."""
    session.install(".[lint]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("flake8", *FLAKE8_ASYNC, "ryze")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types."""
    # With what the bench compares us to, as its programs are checked too.
    session.install(".[types,bench]")
    session.run("mypy")


@nox.session
def schema(session: nox.Session) -> None:
    """Write the published documents into ``schema/``."""
    session.install(".")
    session.run("python", "-m", "ryze.api.openapi", "schema")


@nox.session
def soak(session: nox.Session) -> None:
    """Everything at once for minutes: ``nox -s soak -- --minutes 10``; ``--help`` has the rest."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.soak", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure: a short run that shows that all works; ``nox -s bench -- full`` is the long one."""
    session.install("-e", ".[bench]")
    how = ["--full"] if "full" in session.posargs else []
    session.run("python", "-m", "bench", *how)
