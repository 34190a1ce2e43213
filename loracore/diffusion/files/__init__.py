"""Base model files → parts: checkpoints, folders and hub models, their names, marks and identities."""
