"""Finds environment variables that look like settings of this program and are none."""

import os
from collections.abc import Collection
from difflib import get_close_matches

from sensorium.rpc.settings import PREFIX

OTHERS = frozenset({"TARGET", "METRICS", "TOKEN", "CA_FILE", "CERT_FILE", "KEY_FILE", "TESTS"})
"""Variables of the command line and of the test suite, without the prefix. A shell may have them beside a server's."""
_LINK = "_SERVICE_HOST"
"""Ends the first of the variables that the kubelet sets in every pod for each Service of the namespace."""
_SIMILAR = 0.7
"""Least similarity, of at most 1, at which another name is suggested."""


def unread_variables(fields: Collection[str]) -> list[str]:
    """Returns a sentence for each variable that begins like a setting and is none of `fields`.

    Names only: a value may be a secret. They are no errors, since one environment may serve several programs, each with
    settings of its own.
    """
    known = {name.upper() for name in fields}
    given = {name.upper() for name, value in os.environ.items() if name.upper().startswith(PREFIX) and value}
    services = tuple(name.removesuffix(_LINK) for name in given if name.endswith(_LINK))
    links = tuple(f"{service}_{part}" for service in services for part in ("SERVICE_", "PORT"))
    unread = sorted(name for name in given if not name.startswith(links))
    names = [name.removeprefix(PREFIX) for name in unread]
    return [_sentence(name, known) for name in names if name not in known | OTHERS]


def _sentence(name: str, known: Collection[str]) -> str:
    found = get_close_matches(name, known, n=1, cutoff=_SIMILAR)
    advice = f"did you mean {PREFIX}{found[0]}?" if found else "--help lists the settings."
    return f"{PREFIX}{name} has no effect: this program has no such setting; {advice}"
