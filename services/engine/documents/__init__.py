"""Pages of documents, read as words with their places."""
