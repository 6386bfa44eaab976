"""What a model's device is, holds, and how it fails."""
