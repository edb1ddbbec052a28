//! Definitions of views: the text is split into statements, handler lines are parsed, and SQLite checks the SQL.
#![no_main]

use gesta_views::Definition;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Definition::parse("fuzzed", text) {
        Ok(definition) => assert!(!definition.name().is_empty(), "a view has a name"),
        Err(error) => assert!(!error.to_string().is_empty(), "an error says something"),
    }
});
