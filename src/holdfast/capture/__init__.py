"""Importers: real material as memories, one file a source. They read; ``sync`` writes what has changed."""
