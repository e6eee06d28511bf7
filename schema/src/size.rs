//! Sizes as people write them: `512M`, `10GiB`, `25%`, `100%`, `rest`. Binary units.
