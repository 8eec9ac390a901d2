"""The nouns of the Messages API as values: no I/O, and no words for the screen."""
