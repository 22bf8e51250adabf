"""The fuzz corpus, one folder per parser: its inputs are replayed first, then mutated.

A test that fails with a generated input writes it, minimised, to ``tests/corpus/<kind>/found``:
rename the file after the case it shows, and commit it with the fix.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

__all__ = ["corpus_inputs", "fuzzed"]

_FOLDER = Path(__file__).parent

_positions = st.integers(0, 2**16)


def corpus_inputs(kind: str) -> dict[str, bytes]:
    """The inputs for one parser, by file name."""
    files = sorted(path for path in (_FOLDER / kind).iterdir() if path.is_file())
    return {path.name: path.read_bytes() for path in files}


def fuzzed(kind: str) -> Callable[[Callable[[bytes], None]], Callable[[], None]]:
    """Run a test with the inputs of the corpus, then with mutations of them and random bytes."""

    def decorate(test: Callable[[bytes], None]) -> Callable[[], None]:
        @wraps(test)
        def saving_failures(data: bytes) -> None:
            try:
                test(data)
            except HypothesisException:
                raise
            except Exception:
                # Hypothesis shrinks the input: the last one written is the smallest.
                (_FOLDER / kind / "found").write_bytes(data)
                raise

        seeds = list(corpus_inputs(kind).values())
        data = st.one_of(_mutations(seeds), st.binary(max_size=200))
        run: Callable[[], None] = given(data=data)(saving_failures)
        for seed in seeds:
            run = example(data=seed)(run)
        return run

    return decorate


@st.composite
def _mutations(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """An input of the corpus with some bytes cut, repeated, changed or spliced from another."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted(position % (len(data) + 1) for position in draw(_spans))
        match draw(st.sampled_from(["cut", "repeat", "change", "splice"])):
            case "cut":
                data = data[:start] + data[end:]
            case "repeat":
                data = data[:end] + data[start:end][:200] + data[end:]
            case "change":
                new = draw(st.binary(min_size=1, max_size=4))
                data = data[:start] + new + data[start + len(new) :]
            case _:
                data = data[:start] + draw(st.sampled_from(seeds))[end:]
    return data


_spans = st.tuples(_positions, _positions)
