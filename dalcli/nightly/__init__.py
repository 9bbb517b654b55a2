"""A night of the loop as one command; above the commands that it plays."""
