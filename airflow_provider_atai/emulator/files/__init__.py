"""The files: their records, their contents, and the uploads that become files."""
