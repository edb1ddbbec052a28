//! Read models in SQL.
