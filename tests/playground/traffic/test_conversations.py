"""References between messages."""

from hypothesis import given

from .harness import few, kind, seeds, traffic


@few
@given(seeds)
def test_references_are_to_earlier_messages(seed: int) -> None:
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
