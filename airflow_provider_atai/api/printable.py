"""Makes text of the service safe to log. Pure."""

from __future__ import annotations

_MOST_CHARACTERS = 500


def printable(value: object, most: int = _MOST_CHARACTERS) -> str:
    """
    Return text on one line, so that it can neither forge a line of a log nor control a terminal.

    :param value: what the service sent; anything but text is spelled out.
    :param most: how many characters are kept.
    """
    text = str(value)
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:most])
    return line if len(text) <= most else f"{line}…"
