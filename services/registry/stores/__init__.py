"""Reading and changing the registry's rows. Nothing here knows HTTP; errors are those of `stoker.errors`."""
