"""Captions → what a denoiser hears: tokenizers, text encoders, and where adapters stand in them."""
