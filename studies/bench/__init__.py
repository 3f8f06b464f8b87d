"""`make bench`: the course's code against the code that a reader would otherwise write, and against the hardware."""
