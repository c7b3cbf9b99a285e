"""What keeps the house tidy: retention and disk use."""
