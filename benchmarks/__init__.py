"""Measurements beside released providers; see README.md in this folder."""
