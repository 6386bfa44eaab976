"""Finds out whether the hub can be reached before a model is read: libraries try each of its files for 23 s."""

import logging
import os
import time
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import get_session, validate_repo_id

from services.engine.checkpoint import ModelRefused

log = logging.getLogger(__name__)

_PAUSES_SECONDS = (0.0, 1.0, 2.0)
_WHAT_TO_DO = "Give a folder, or name a mirror by HF_ENDPOINT, or a proxy by HTTPS_PROXY."


def require_hub(source: str) -> None:
    """Returns if `source` is a folder, or the hub answers, or the cache holds files of the model.

    In the last case the process is offline from then on, as by HF_HUB_OFFLINE=1.

    Raises:
        ModelRefused: none of these is so.
    """
    if os.path.isdir(source) or constants.is_offline_mode() or not is_hub_id(source):  # noqa: PTH112 - a hub id is no path
        return
    reason = _unreachable()
    if not reason:
        return
    told = f"the hub cannot be reached at {constants.ENDPOINT} ({reason})"
    if not Path(constants.HF_HUB_CACHE, "models--" + source.replace("/", "--")).is_dir():
        raise ModelRefused(
            f"{source} cannot be loaded: there is no such folder, {constants.HF_HUB_CACHE} holds nothing of it, and "
            f"{told}. {_WHAT_TO_DO}"
        )
    log.warning("%s: %s is read from %s, as HF_HUB_OFFLINE=1 would have it", told, source, constants.HF_HUB_CACHE)
    constants.HF_HUB_OFFLINE = True
    os.environ["HF_HUB_OFFLINE"] = "1"  # for processes that this one starts


def is_hub_id(source: str) -> bool:
    """Returns whether `source` has the form of a hub id."""
    try:
        validate_repo_id(source)
    except HFValidationError:  # a path: the library says so at once
        return False
    return True


def _unreachable() -> str:
    """Returns why the hub does not answer at all; empty if it does, whatever it says."""
    reason = ""
    for pause in _PAUSES_SECONDS:
        time.sleep(pause)
        try:
            # The library's own timeout: a hub that is fast enough for it is so here.
            get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        except Exception as error:  # of which library depends on the hub's release
            reason = str(error) or type(error).__name__
        else:
            return ""
    return reason
