"""Ryze: a self-hosted, real-time event gateway on Trio."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("ryze")
