"""Faster modules in the place of a model's own, and how it is found out that they compute the same."""
