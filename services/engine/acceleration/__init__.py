"""Replaces a model's modules with faster ones, and checks that they compute the same."""
