"""Keys and values of sequences: in pages that may be shared, or in the model's own cache."""
