"""Events: the six types, their envelope, media, and the chat filter.

event         one event, and the envelope that subscribers receive
decoding      events from the JSON of producers
media         remove or add ``media.base64`` without decoding the rest
chat_filter   drop events of chats that an instance ignores
surrogates    mask unpaired surrogates, which the JSON decoder refuses
"""

__all__: list[str] = []
