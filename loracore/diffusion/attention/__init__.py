"""Attention whose projections of one input are computed together, for the models of diffusers."""
