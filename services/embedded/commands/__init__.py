"""Commands that run the services or hand out parts of them."""

from services.embedded.commands import demo, stack, sudo

APPS = (sudo.app, stack.app, demo.app)
