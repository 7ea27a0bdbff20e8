"""Checks of a dataset file's content, block by block so that a file of any size fits in memory. Pure."""

from __future__ import annotations

import codecs
import json
from typing import Any, NoReturn

MOST_FAULTS = 5
# Parsing a text takes several times its size in memory.
LARGEST_JSON = 16 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ContentCheck:
    """
    Checks a file's content while it is read. The base class accepts any content, as for images and videos.

    ``faults`` says what is wrong, each with its line. ``is_settled`` means that reading on adds nothing.
    ``note`` says what was not checked.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.is_settled = False
        self.note: str | None = None

    def feed(self, block: bytes) -> None:
        """Check the next bytes."""

    def finish(self) -> None:
        """Check what is left after the last block."""


def check_for(suffix: str) -> ContentCheck:
    """Return the check for files with a suffix, which is lower case and starts with a dot."""
    if suffix == ".jsonl":
        return JsonLinesCheck()
    if suffix == ".json":
        return JsonCheck()
    if suffix in (".csv", ".txt"):
        return TextCheck()
    return ContentCheck()


class JsonLinesCheck(ContentCheck):
    """Every line must be one JSON text in UTF-8. The service judges what the text means."""

    def __init__(self) -> None:
        super().__init__()
        self._line = 0
        self._unfinished: list[bytes] = []
        self._unfinished_size = 0

    def feed(self, block: bytes) -> None:
        head, newline, rest = block.partition(b"\n")
        self._unfinished.append(head)
        self._unfinished_size += len(head)
        if self._unfinished_size > LARGEST_JSON:
            self._add_fault(self._line + 1, f"longer than {LARGEST_JSON} bytes")
            self.is_settled = True
            return
        if not newline:
            return
        self._check(b"".join(self._unfinished))
        *lines, last = rest.split(b"\n")
        for line in lines:
            self._check(line)
        self._unfinished = [last]
        self._unfinished_size = len(last)

    def finish(self) -> None:
        last = b"".join(self._unfinished)
        if last:
            self._check(last)

    def _check(self, line: bytes) -> None:
        self._line += 1
        if self.is_settled:
            return
        if (fault := json_fault(line, first=self._line == 1)) is not None:
            self._add_fault(self._line, fault)

    def _add_fault(self, line: int, fault: str) -> None:
        self.faults.append(f"line {line}: {fault}")
        self.is_settled = len(self.faults) >= MOST_FAULTS


class TextCheck(ContentCheck):
    """The content must be UTF-8."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._line = 1

    def feed(self, block: bytes) -> None:
        self._decode(block, final=False)

    def finish(self) -> None:
        self._decode(b"", final=True)

    def _decode(self, block: bytes, *, final: bool) -> None:
        if self.is_settled:
            return
        # The decoder keeps the start of a character that the last block cut; that start holds no newline.
        try:
            self._decoder.decode(block, final)
        except UnicodeDecodeError as error:
            line = self._line + bytes(error.object[: error.start]).count(b"\n")
            self.faults.append(f"line {line}: not UTF-8 ({error.reason})")
            self.is_settled = True
            return
        self._line += block.count(b"\n")


class JsonCheck(TextCheck):
    """The content must be UTF-8, and one JSON text if it is small enough to be parsed at once."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[bytes] | None = []
        self._size = 0

    def feed(self, block: bytes) -> None:
        super().feed(block)
        self._size += len(block)
        if self._size > LARGEST_JSON:
            self._blocks = None
            self.note = f"It is larger than {LARGEST_JSON} bytes, so only its encoding was checked."
        elif self._blocks is not None:
            self._blocks.append(block)

    def finish(self) -> None:
        super().finish()
        if self._blocks is None or self.faults:
            return
        if (fault := json_fault(b"".join(self._blocks), first=True)) is not None:
            self.faults.append(fault)


def json_fault(text: bytes, *, first: bool) -> str | None:
    """
    Return why bytes are not one JSON text in UTF-8, None if they are.

    The content is never quoted: datasets must not reach the log.

    :param first: whether the text starts the file; a byte order mark could stand there.
    """
    if first and text.startswith(_BYTE_ORDER_MARK):
        return "starts with a byte order mark; save the file as UTF-8 without it"
    if not text.strip():
        return "empty"
    try:
        _decoder.decode(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start + 1}: {error.reason})"
    except json.JSONDecodeError as error:
        where = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        return f"not JSON ({error.msg.removesuffix(' at')} at {where})"
    except RecursionError:
        return "not JSON (nested too deeply)"
    except _NotAJsonValueError as error:
        return f"not JSON ({error})"
    except ValueError:
        # Python refuses integers with thousands of digits; JSON allows them.
        return None
    return None


class _NotAJsonValueError(ValueError):
    """The text has NaN or Infinity, which Python reads although JSON has no such values."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NotAJsonValueError(f"{name} is not a JSON value")


def _drop(pairs: list[tuple[str, Any]]) -> None:
    """Build no object: only whether the text can be parsed matters."""


_decoder = json.JSONDecoder(object_pairs_hook=_drop, parse_constant=_refuse_constant)
