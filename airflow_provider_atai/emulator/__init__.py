"""A local stand-in for Archetype AI's fine-tuning service, for tests, demos and continuous integration."""
