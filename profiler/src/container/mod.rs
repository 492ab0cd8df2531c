//! Which container a task is in, what it is called, and which one a user means.
