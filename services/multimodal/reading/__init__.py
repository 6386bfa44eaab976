"""Models that answer questions without generating: from a list of answers, or with words of the page."""
