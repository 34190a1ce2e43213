"""The demo: an embedded tiny model learns a concept, and shows pictures and numbers from before and after."""
