//! The command line of Gesta, as a library.
