"""Rate limits: requests per token, or per address without a token, in a fixed window.

``limits`` has the algorithm; its own memory storage reads the wall clock and cleans up in a thread,
so the counters are kept here, on Trio's clock, which never jumps.
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

# Expired windows are dropped whenever the number of windows has doubled, starting at this one.
_SWEEP_FROM = 1024


@dataclass(frozen=True, slots=True)
class Window:
    """State of a window, just after a request was counted.

    Args:
        limit: requests per window.
        remaining: requests that are left.
        resets_in: seconds until the next window.
        is_exceeded: the request was over the limit.
    """

    limit: int
    remaining: int
    resets_in: float
    is_exceeded: bool

    def headers(self) -> dict[str, str]:
        """Return the three headers of every counted response (contract, section 1)."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(round(time.time() + self.resets_in)),
        }

    def check(self) -> None:
        """Refuse a request over the limit.

        Raises:
            ApiError: 429; with the headers, as not every caller can add them later.
        """
        if self.is_exceeded:
            # Rounded up: a request after so many seconds is in the next window.
            retry_after = {"Retry-After": str(int(self.resets_in) + 1)}
            raise ApiError(RATE_LIMITED, headers={**self.headers(), **retry_after})


def address_key(address: str) -> str:
    """Return the key under which requests without a token are counted.

    For IPv6 it is the network of 64 bits: a client can send from any address of its network.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    # A socket for both families shows IPv4 addresses as IPv4-mapped.
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((int(ip), 64), strict=False))


class RateLimits:
    """All limits of a server.

    Args:
        limits: by name; None: off.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        limits: Mapping[str, limits.RateLimitItem | None],
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._limits = dict(limits)
        # Requests over a limit, by its name.
        self.exceeded = Counter(dict.fromkeys(self._limits, 0))
        self._clock = clock
        self._limiter = FixedWindowRateLimiter(_Windows(clock))

    def hit(self, name: str, key: str) -> Window | None:
        """Count a request against a limit; None if that limit is off.

        Args:
            name: of the limit.
            key: token hash, or `address_key`.
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
    """Storage of ``limits``: counters by key, each with the end of its window."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        # Requests in the window, and its end.
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
