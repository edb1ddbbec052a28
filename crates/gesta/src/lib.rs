//! What application authors import.
