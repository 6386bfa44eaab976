"""What happens at load: an engine's parts are chosen, sized, put together, and compared with the model itself."""
