"""Conversations: nobody refers to what has not been said."""

from hypothesis import given

from .harness import few, kind, seeds, traffic


@few
@given(seeds)
def test_what_is_referred_to_came_before(seed: int) -> None:
    known: set[str] = set()
    delivered: set[str] = set()
    read: set[str] = set()
    for event in traffic(seed):
        data = event.data
        if event.event_name == "message.status":
            ids = set(data["messageIds"])
            assert ids <= known
            if data["status"] == "read":
                assert ids <= delivered
                assert not ids & read
                read |= ids
            else:
                delivered |= ids
        elif event.event_name == "message.exchange":
            if kind(event) == "message_edit":
                assert data["message"]["edit"]["original_id"] in known
            assert (data["id"] in known) == (kind(event) == "message_revoke")
            known.add(data["id"])
    assert read
