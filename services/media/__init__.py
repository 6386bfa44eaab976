"""The verbs that images and recordings have in common, and their requests."""
