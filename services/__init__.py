"""The deployable services, one folder each, and the engine they share. Not part of the wheel."""
