"""The README says what the code does."""

import re
from pathlib import Path

from ryze.settings import all_settings

README = Path(__file__).parent.parent / "README.md"


def test_settings_table_is_that_of_the_code() -> None:
    """Every setting, its default and its help stand in the table, in order, and nothing else."""
    rows = re.findall(r"^\| `(RYZE_\w+)` \| (.*?) \| (.*?) \|$", README.read_text(), re.MULTILINE)
    assert rows == [
        (setting.variable, f"`{setting.default}`" if setting.default else "", setting.help)
        for setting in all_settings()
    ]
