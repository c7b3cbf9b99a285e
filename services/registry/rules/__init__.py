"""What types cannot say about resources and profiles: rules per struct, for `shared.service.web.bodies.decoding`."""

from services.registry.rules.profiles import PROFILE_RULES
from services.registry.rules.resources import RESOURCE_RULES

__all__ = ["PROFILE_RULES", "RESOURCE_RULES"]
