"""Picture files: their sizes, and their pixels as they are trained."""
