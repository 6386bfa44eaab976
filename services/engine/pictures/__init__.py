"""Image-to-text models: they encode one picture, and their decoder generates text about it."""
