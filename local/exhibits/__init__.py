"""What the demo asks of every embedded model but the chat: held-out items, of which the right answer is known."""
