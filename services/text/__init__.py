"""The text service: serves one language model as TextService."""
