"""Imported by the fork server before all else: Ctrl-C ends it quietly while it imports the rest, which takes long.

Python's own handler would print a traceback. Once all is imported, the fork server ignores the signal. Until then, no
search for garbage makes it take longer.
"""

import gc
import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
gc.disable()
