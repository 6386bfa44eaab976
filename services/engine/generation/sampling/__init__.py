"""From logits to tokens: constraints, biases and penalties, sampling, and beam search."""
