//! Mistakes that only the compiler can find, and its messages. Mistakes that a macro finds are unit tests in `src/tests.rs`,
//! which need no compiler.

#[test]
#[ignore = "it checks all dependencies once more, which takes a minute: `cargo xtask ci` runs it"]
fn type_errors_name_the_remedy() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
