"""The animal."""
