"""Weight erasure: a picture drawn into a weight matrix, and whether training leaves it there."""
