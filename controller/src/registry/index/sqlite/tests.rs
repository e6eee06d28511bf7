//! Rules of the index, on a real file.
