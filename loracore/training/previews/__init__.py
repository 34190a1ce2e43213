"""Pictures of the prompts, drawn while the network learns."""
