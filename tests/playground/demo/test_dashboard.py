"""The board: what is known, told the time, as a picture, a line and a summary."""

import io
import json
import re
from typing import Any

import pytest
from rich.console import Console

from ryze.events.event import Event
from ryze.playground.demo import Board, Row


def a_board() -> Board:
    board = Board(60)
    board.rows = [
        Row("crm", "shop", state="listening", style="green"),
        Row("sleepy", "shop", state="not reading", style="yellow"),
    ]
    return board


def event(type: Any, /, **data: str) -> Event:
    return Event(type, json.dumps(data).encode())


def drawn(board: Board, lines: int = 16, width: int = 80) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=width).print(board.picture(lines))
    return output.getvalue().splitlines()


@pytest.mark.parametrize("lines", [15, 16, 22, 40])
@pytest.mark.parametrize("width", [72, 80, 200])
def test_a_picture_has_as_many_lines_as_there_is_room_for(lines: int, width: int) -> None:
    board = a_board()
    for number in range(100):
        board.note(f"{number} " + "x" * 300)
        board.take(event("label.update", name="y" * 300))
        board.tick(number * 10.0)
    picture = drawn(board, lines, width)
    assert len(picture) == lines
    assert all(len(line) <= width for line in picture)


def test_a_picture_shows_what_is_known() -> None:
    board = a_board()
    board.published.count = 1234
    board.rows[0].meter.count = 1200
    board.rows[1].pending = 128
    board.guests = 2
    board.tick(5)
    board.note("something happens")
    board.take(event("instance.state", state="connected"))
    board.tick(23)
    text = "\n".join(drawn(board))
    assert "0:23 of 1:00  published 1,234" in text
    assert "queued 128  guests 2" in text
    assert re.search(r"crm +shop +1,200 .* empty +listening", text)
    assert re.search(r"sleepy +shop .* ██████░░░░░░ 128 of 256 +not reading", text)
    assert "0:05 something happens" in text
    assert "instance.state   connected" in text


def test_of_each_type_the_newest_event_is_shown_now_and_then() -> None:
    board = a_board()
    for state in ("disconnected", "connecting", "connected"):
        board.take(event("instance.state", state=state))
    board.tick(0)
    board.take(event("instance.state", state="soon after"))
    board.tick(1)
    text = "\n".join(drawn(board))
    assert "connected" in text
    assert "disconnected" not in text
    assert "soon after" not in text
    board.tick(3)
    assert "soon after" in "\n".join(drawn(board))


def test_nothing_that_others_send_moves_the_cursor() -> None:
    board = a_board()
    board.note("a\x1b[2Jb\nc")
    board.take(event("instance.state", state="d\r\x07e\u200df"))
    board.tick(0)
    text = "\n".join(drawn(board))
    assert "a [2Jb c" in text
    assert "d  ef" in text


def test_the_board_is_a_line_too() -> None:
    board = a_board()
    board.published.count = 20
    board.rows[0].meter.count = 1500
    board.rows[1].pending = 3
    assert board.line() == "0:00  published 20 (0/s): crm 1,500, sleepy 0 (3 pending)"


def test_the_summary_says_who_missed_what() -> None:
    board = a_board()
    board.published.count = 10
    board.rows[0].meter.count = 10
    board.rows[1].meter.count = 7
    board.rows[1].ended = "4008 slow consumer"
    board.tick(2)
    assert board.summary().splitlines() == [
        "10 events published and 17 frames delivered in 2 s:",
        "  crm          10 of shop",
        "  sleepy        7 of shop, 3 missed (dropped: 4008 slow consumer)",
        "The server is gone, and its temporary directory with it.",
    ]


def test_who_missed_nothing_is_told_to_have_all() -> None:
    board = a_board()
    board.rows.append(Row("helpdesk", "office"))
    for row, count in zip(board.rows, (1000, 1000, 8), strict=True):
        row.meter.count = count
    assert board.summary().splitlines()[1:4] == [
        "  crm       1,000 of shop",
        "  sleepy    1,000 of shop",
        "  helpdesk      8 of office",
    ]


def test_guests_come_and_go() -> None:
    board = a_board()
    board.count_guests(1)
    board.count_guests(0)
    assert [text for _, text, _ in board.notes] == [
        "from outside: somebody listens",
        "from outside: somebody has left",
    ]
