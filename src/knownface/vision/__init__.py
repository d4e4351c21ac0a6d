"""Vision: bytes of a picture in, faces out. `pipeline` is the only door; nothing is imported here."""
