"""Options: declared by their owners, read from TOML and flags, checked before torch is imported."""
