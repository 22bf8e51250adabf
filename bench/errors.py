"""Errors: a measurement that cannot be made, and a server that does not deliver."""

__all__ = ["DeliveryError", "MeasurementError"]


class MeasurementError(Exception):
    """A measurement cannot be made; the message is one line that says what to do.

    Examples are a peer that is not installed, a port in use and too few file descriptors. The
    message is printed as a warning, and the run continues with the next measurement.
    """


class DeliveryError(Exception):
    """The server lost, duplicated, altered or delayed an event; raised in the load generator."""
