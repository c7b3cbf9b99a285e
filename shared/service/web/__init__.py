"""The HTTP side of a service: gate, problems, health, metrics, the application around the controllers."""
