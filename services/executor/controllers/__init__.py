"""The HTTP interface: each module the handlers of one noun, which only translate."""
