"""Verbs that generate one text for each text: Summarize and Translate."""
