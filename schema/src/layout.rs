//! The layout solver: from the sizes a recipe asks for to byte ranges on a real disk. Pure.
