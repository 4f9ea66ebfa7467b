"""One request's life: where it goes, what is added to it, how both directions are moved."""
