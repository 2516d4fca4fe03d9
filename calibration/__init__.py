"""The rig and what it records."""
