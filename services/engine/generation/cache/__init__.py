"""The state of sequences: keys and values in pages that may be shared, or the model's own cache."""
