"""Values and decisions: no input or output, no clock, no unseeded randomness."""
