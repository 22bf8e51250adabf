"""Benchmarks of the gateway: one module per question (see README.md)."""
