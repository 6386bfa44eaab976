"""What all models that generate share: the loaded model, the verb, and the conversion of its results."""
