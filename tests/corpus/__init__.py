"""Inputs worth keeping, a folder for each reader: replayed first, and mutated to find new ones.

A test that fails with bytes of its own invention leaves them, as small as it could make them, in
``tests/corpus/<kind>/found``: give the file a name that says what it shows, and commit it with the
fix.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

__all__ = ["fuzzed", "kept"]

_FOLDER = Path(__file__).parent

_positions = st.integers(0, 2**16)


def kept(kind: str) -> dict[str, bytes]:
    """The inputs for one kind of reader, by the names of their files."""
    files = sorted(path for path in (_FOLDER / kind).iterdir() if path.is_file())
    return {path.name: path.read_bytes() for path in files}


def fuzzed(kind: str) -> Callable[[Callable[[bytes], None]], Callable[[], None]]:
    """Run a test of any bytes: those that are kept, then what comes of them, then noise."""

    def decorate(test: Callable[[bytes], None]) -> Callable[[], None]:
        @wraps(test)
        def keeping(data: bytes) -> None:
            try:
                test(data)
            except HypothesisException:
                raise
            except Exception:
                # Each smaller input overwrites it; the last one is the smallest.
                (_FOLDER / kind / "found").write_bytes(data)
                raise

        seeds = kept(kind)
        run: Any = given(data=st.one_of(_mutations(list(seeds.values())), st.binary(max_size=200)))(
            keeping
        )
        for seed in seeds.values():
            run = example(data=seed)(run)
        return run  # type: ignore[no-any-return]

    return decorate


@st.composite
def _mutations(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A kept input with some bytes cut, repeated, changed or taken from another one."""
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
