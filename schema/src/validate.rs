//! Is this text a recipe? Every fault at once, sorted by path.
