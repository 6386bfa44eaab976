"""What keys and values in 8 bits cost in quality."""
