"""Takes in what suppliers send: archives, lists, settings."""
