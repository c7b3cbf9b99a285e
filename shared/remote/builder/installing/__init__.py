"""How environments are made: by uv, pip or pixi, or found as they are."""
