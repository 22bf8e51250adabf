"""The bench's two errors: one ends a measurement, the other is found by the load generator."""

__all__ = ["DeliveryError", "MeasurementError"]


class MeasurementError(Exception):
    """A measurement cannot be made; the message is one line that says what to do.

    Examples are a peer that is not installed, a port in use and too few file descriptors. The
    message is printed as a warning, and the run continues with the next measurement.
    """


class DeliveryError(Exception):
    """Load generator: the server lost, duplicated, altered or delayed an event."""
