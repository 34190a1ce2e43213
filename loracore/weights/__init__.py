"""Weight files of base models and networks: their names, and tools that rewrite them."""
