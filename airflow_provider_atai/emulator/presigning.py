"""Part URLs that work without a key: the upload, the part and the expiry, signed."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlencode

EXPIRES = "X-Emulator-Expires"
SIGNATURE = "X-Emulator-Signature"


def presigned_query(secret: str, upload_id: str, part_number: int, expires: float) -> str:
    """Return the query of a part's URL."""
    until = f"{expires:.6f}"
    return urlencode({EXPIRES: until, SIGNATURE: _signature(secret, upload_id, part_number, until)})


def is_signed(secret: str, upload_id: str, part_number: int, expires: str, signature: str) -> bool:
    """Return whether a URL is one that the emulator made, expired or not."""
    expected = _signature(secret, upload_id, part_number, expires)
    return hmac.compare_digest(expected.encode(), signature.encode(errors="replace"))


def _signature(secret: str, upload_id: str, part_number: int, expires: str) -> str:
    text = f"{upload_id}/{part_number}/{expires}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
