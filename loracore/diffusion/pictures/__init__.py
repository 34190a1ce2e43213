"""Pictures drawn by pipelines of diffusers, and the sizes that a model's pictures have."""
