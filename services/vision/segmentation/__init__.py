"""Divides an image into regions: SegmentImage with or without prompts."""
