"""The store: manifest and shards, written whole or not at all, read memory-mapped."""
