"""What users have on disk, turned into bags."""
