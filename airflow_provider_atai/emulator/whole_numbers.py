"""Whole numbers in queries, which Pydantic would also read out of ``1.0``, ``1_0`` and `` +1``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator


def _digits(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch("-?[0-9]+", value):
        raise ValueError("it must be a whole number")
    return value


WholeNumber = Annotated[int, BeforeValidator(_digits)]
