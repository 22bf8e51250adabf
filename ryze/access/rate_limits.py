"""Rate limits: so many requests of one token (or of one address without) in a fixed window.

``limits`` counts; its own memory storage looks at the wall clock and cleans up in a thread, so
the counters are kept here, on Trio's clock, which never jumps.
"""

import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import limits
import trio
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from ryze.errors import RATE_LIMITED, ApiError

__all__ = ["RateLimits", "Window", "address_key"]

# Windows that are over are dropped whenever the number of windows has doubled, from here on.
_SWEEP_FROM = 1024


@dataclass(frozen=True, slots=True)
class Window:
    """Where a request stands in its window.

    Args:
        limit: requests in a window.
        remaining: of these, how many are left.
        resets_in: seconds until the next window.
        is_exceeded: this request was one too many.
    """

    limit: int
    remaining: int
    resets_in: float
    is_exceeded: bool

    def headers(self) -> dict[str, str]:
        """The three headers that every answer carries (contract, section 1)."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(round(time.time() + self.resets_in)),
        }

    def check(self) -> None:
        """Let the request pass.

        Raises:
            ApiError: 429; with the headers, as not every caller can add them later.
        """
        if self.is_exceeded:
            # Rounded up: who comes back after it is in the next window.
            retry_after = {"Retry-After": str(int(self.resets_in) + 1)}
            raise ApiError(RATE_LIMITED, headers={**self.headers(), **retry_after})


def address_key(address: str) -> str:
    """What a client without a token is counted as.

    With IPv6 that is its network of 64 bits: whoever has one can send from any address of it.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    # How a socket for both families shows an IPv4 address.
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((int(ip), 64), strict=False))


class RateLimits:
    """All limits of a server.

    Args:
        limits: by name; None is off.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        limits: Mapping[str, limits.RateLimitItem | None],
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._limits = dict(limits)
        # Requests that were one too many, by the name of the limit.
        self.exceeded = Counter(dict.fromkeys(self._limits, 0))
        self._clock = clock
        self._limiter = FixedWindowRateLimiter(_Windows(clock))

    def hit(self, name: str, key: str) -> Window | None:
        """Count a request against a limit; None where that limit is off.

        Args:
            name: of the limit.
            key: who sent the request.
        """
        limit = self._limits[name]
        if limit is None:
            return None
        passed = self._limiter.hit(limit, name, key)
        self.exceeded[name] += not passed
        stats = self._limiter.get_window_stats(limit, name, key)
        resets_in = stats.reset_time - self._clock()
        return Window(limit.amount, stats.remaining, resets_in, is_exceeded=not passed)


class _Windows(Storage):
    """The counters of ``limits`` by key, each with the end of its window."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        # Requests in the window, and when it ends.
        self._windows: dict[str, tuple[int, float]] = {}
        self._sweep_at = _SWEEP_FROM

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        count, end = self._window(key)
        if not count:
            self._sweep()
            end = self._clock() + expiry
        self._windows[key] = (count + amount, end)
        return count + amount

    def get(self, key: str) -> int:
        return self._window(key)[0]

    def get_expiry(self, key: str) -> float:
        return self._window(key)[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _window(self, key: str) -> tuple[int, float]:
        now = self._clock()
        count, end = self._windows.get(key, (0, now))
        return (count, end) if end > now else (0, now)

    def _sweep(self) -> None:
        if len(self._windows) >= self._sweep_at:
            now = self._clock()
            self._windows = {
                key: window for key, window in self._windows.items() if window[1] > now
            }
            self._sweep_at = max(_SWEEP_FROM, 2 * len(self._windows))
