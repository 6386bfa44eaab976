"""The whole stack on one machine, for a first look and for development: `python -m local demo|serve|observe|boards`."""
