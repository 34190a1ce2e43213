"""Packages of new plugins, written from templates."""
