"""The threads of an engine: the one that runs the model, and those that prepare requests and answers."""
