"""Ways to run a model on the rows of a step."""
