"""From logits to tokens: what forbids, what biases, what draws, and what goes on in a beam."""
