//! What must not compile, and what the compiler then says.

#[test]
fn mistakes_are_compile_errors_that_name_the_remedy() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
