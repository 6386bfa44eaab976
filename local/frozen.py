"""Imported by the fork server after all else: no search for garbage in a fork walks through what was imported before.

A service searches once it has loaded, which takes a second beside torch and transformers, and unshares their memory.
Nothing is searched here either: what importing leaves as garbage is next to nothing.
"""

import atexit
import gc

gc.freeze()
gc.enable()
atexit.register(gc.unfreeze)  # what is frozen when Python ends is never freed, and libraries complain of it
