"""Building blocks for architecture plugins on diffusers and transformers; the core itself never imports them."""
