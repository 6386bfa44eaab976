"""Example calls for every embedded model but the chat: held-out items with known answers."""
