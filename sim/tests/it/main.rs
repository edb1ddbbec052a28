//! What the log does when its process is killed.

mod kill;
