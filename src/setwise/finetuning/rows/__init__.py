"""A repository's rows: read from files, encoded, drawn and written, never all in memory at once."""
