//! Files of targets that may be hostile: opened below their own root, regular only, never blocking, bounded.
