"""``python -m ryze`` is the ``ryze`` command."""

from ryze.cli import main

if __name__ == "__main__":
    main()
