"""Request bodies: decoded strictly, or every wrong field named with its valid form."""
