"""What the gateway costs a service behind it."""
