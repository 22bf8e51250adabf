"""Hostile clients and exhausted resources: each is limited, and no other client is affected.

These tests need the whole server: in this process where a clock must jump, in a process of its own
where a limit of the operating system is reached. Limits that one module enforces alone are tested
with that module.
"""
