"""What numbers of 8 bits change in the answers of embedded models."""
