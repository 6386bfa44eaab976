"""Images and recordings in the prompts of the generation engine."""
