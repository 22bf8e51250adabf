"""Clients that mean harm, and machines that run out: each meets its limit, and nobody else notices.

What one module can show stands beside that module's other tests; here is what needs the whole
server, in this process where a clock must jump, as a process of its own where a limit of the
operating system is met.
"""
