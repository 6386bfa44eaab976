"""A module whose import does not come to an end by itself."""

import time

while True:
    time.sleep(1)
