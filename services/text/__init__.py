"""The text service: one language model behind TextService."""
