"""`sensorium top`: what a gateway does, as a table that keeps itself up to date."""
