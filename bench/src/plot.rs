//! x
use crate::asked::Asked;
pub fn run(_asked: &Asked) {}
