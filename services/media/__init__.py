"""Verbs of images and of recordings alike, and what they are asked."""
