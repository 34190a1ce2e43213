"""What a file of a network holds."""
