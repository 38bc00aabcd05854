"""Remove passwords and keys from addresses: no log, receipt or MLflow store may show them."""

from __future__ import annotations

import re

# `user:password@` after a scheme, and access keys in a query.
SECRET = re.compile(
    r"(?<=://)[^/\s]*@"
    r"|(?<=[?&])([\w-]*(token|secret|password|signature|credential|api_?key)|sig)=[^&\s'\"]*",
    re.IGNORECASE,
)


def without_password(text: str) -> str:
    """Return an address, or a text with addresses, without passwords and keys."""
    return SECRET.sub("", text)


def holds_password(address: str) -> bool:
    """Return whether an address holds a password or key."""
    return SECRET.search(address) is not None
