"""Addresses as they may be shown."""

import re


def public(text: str) -> str:
    """Return ``text`` without the user and password of any address in it: http://me:secret@host/x -> http://host/x."""
    return re.sub(r"//\S*@", "//", text)
