"""What a step does for models of a family: noise, targets and weights of DDPM and of flow matching."""
