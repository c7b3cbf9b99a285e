"""Task environments: from a request to what the builder is asked, and from its answer to what is stored."""
