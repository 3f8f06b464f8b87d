"""One file for one chapter's own subject."""
