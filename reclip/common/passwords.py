"""Passwords and keys in addresses, which no log, receipt or MLflow store may show."""

from __future__ import annotations

import re

# `user:password@` after a scheme, and what proves in a query that one may read.
SECRET = re.compile(
    r"(?<=://)[^/\s]*@"
    r"|(?<=[?&])([\w-]*(token|secret|password|signature|credential|api_?key)|sig)=[^&\s'\"]*",
    re.IGNORECASE,
)


def without_password(text: str) -> str:
    """An address, or a text with some, as it may be shown."""
    return SECRET.sub("", text)


def holds_password(address: str) -> bool:
    return SECRET.search(address) is not None
