"""HTTP: parameters in, contracts out. Decisions are made in the stores and the rules."""
