"""Addresses as they may be shown."""

import re

# Up to a space, without the quote that closes it; or, as urllib3's errors have it, the rest of one that starts at its path.
ADDRESS = re.compile(r"""(?:[\w+.-]+:)?//\S*?(?=['"]?(?:\s|$))|(?<![^\s'"])/[^\s?]*\?[^\s=]*=\S*""")


def public(text: str, address: str = "") -> str:
    """Return ``text`` without user, password, query and fragment of any address: http://me:secret@host/x?token=1 -> http://host/x.

    Of an address whose place and secrets cannot be told apart, only the scheme is left.

    Args:
        text: an address, or what an error says.
        address: one that may be in ``text``, however many spaces it has.
    """
    if "//" in address:
        text = text.replace(address, _cut(address))
    return ADDRESS.sub(lambda found: _cut(found[0]), text)


def _cut(address: str) -> str:
    scheme, mark, rest = address.partition("//")
    if not mark or "?" in scheme:  # a path and its query
        return address.partition("?")[0]
    place, *hidden = re.split("[?#]", rest, maxsplit=1)
    if place.startswith("/"):  # a file: no user
        return f"{scheme}//{place}"
    # http://host?token=a@b or http://me:se?cret@host
    return f"{scheme}//..." if "@" in "".join(hidden) else f"{scheme}//{place.rpartition('@')[2]}"
