"""What every service that generates text shares: its settings, its verb, and the edge of both."""
