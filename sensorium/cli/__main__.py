"""Lets `python -m sensorium.cli` be `sensorium`."""

from sensorium.cli import main

main()
