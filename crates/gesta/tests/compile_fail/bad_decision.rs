//! A decision that is asked something by reference.

use gesta::decision;

#[decision]
fn transfer(from: &gesta::At<()>, note: &str) -> Result<Vec<gesta::NewFact>, std::fmt::Error> {
    Ok(vec![])
}

fn main() {}
