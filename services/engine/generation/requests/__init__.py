"""What a caller asks for: checked, and with nothing left open."""
