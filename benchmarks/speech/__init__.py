"""Speech, measured."""
