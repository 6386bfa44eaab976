"""What happens at load: the parts of an engine are chosen, sized, put together and compared with the model's own."""
