"""Vision: a picture goes in, faces come out; `pipeline` is the only door."""
