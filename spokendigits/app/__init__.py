"""The command `spokendigits`, and what each of its sub-commands does."""
