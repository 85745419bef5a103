"""The kinds of records, one file each."""
