"""Pages of documents, read as words with their boxes on the page."""
