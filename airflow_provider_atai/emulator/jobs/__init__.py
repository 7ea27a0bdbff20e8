"""The jobs: what their rows hold, and how time and requests change them."""
