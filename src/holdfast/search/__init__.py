"""Finding records by what they say."""
