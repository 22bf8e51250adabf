"""The tables of the README and the contract match the code."""

import re
from pathlib import Path

import pytest

from ryze.api.openapi.close_codes import CLOSE_CODES
from ryze.settings import all_settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRACT = (ROOT / "docs" / "contract.md").read_text()

# Of producer sockets only, which the contract describes in section 6.
PRODUCER_CODES = {1008}


def close_codes_in(text: str) -> list[tuple[int, str, str]]:
    """Code, reason and advice of each row of a table of close codes."""
    rows = re.findall(r"^\| (\d{4}) \|(?: `(.*?)` | )\|(?: .* \|)? ([^|]*) \|$", text, re.MULTILINE)
    return [(int(code), reason, advice) for code, reason, advice in rows]


def test_settings_table_matches_the_settings() -> None:
    """It has every setting, its default and its help, in order, and nothing else."""
    rows = re.findall(r"^\| `(RYZE_\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    assert rows == [
        (setting.variable, f"`{setting.default}`" if setting.default else "", setting.help)
        for setting in all_settings()
    ]


@pytest.mark.parametrize(
    ("text", "omitted"), [(README, set()), (CONTRACT, PRODUCER_CODES)], ids=["README", "contract"]
)
def test_close_codes_match_the_catalogue(text: str, omitted: set[int]) -> None:
    assert close_codes_in(text) == [
        (row["code"], row["reason"], row["client"])
        for row in CLOSE_CODES
        if row["code"] not in omitted
    ]
