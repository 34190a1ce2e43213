"""A LoRA of the difference of two models."""
