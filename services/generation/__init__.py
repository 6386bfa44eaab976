"""What all services that generate text share: settings, the verb Generate, and conversions of its messages."""
