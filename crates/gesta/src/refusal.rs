//! Refusals: the errors of a domain, listed.

/// The refusals of a domain, as an enum. Derive it.
///
/// The derive implements [`Error`](std::error::Error): the documentation of a variant is its message. [`Decider::REFUSALS`] puts the list into
/// the description of the API.
///
/// [`Decider::REFUSALS`]: crate::Decider::REFUSALS
pub trait Refusal: std::error::Error {
    /// Every refusal of the enum, in the order of its variants.
    const REFUSALS: &'static [RefusalInfo];
}

/// A refusal, as a caller of the API gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalInfo {
    /// Its code: the name of the variant, such as `InsufficientFunds`.
    pub code: &'static str,
    /// Its message, with `{names}` in place of values.
    pub message: &'static str,
}

impl RefusalInfo {
    /// A refusal of that code and message.
    #[must_use]
    pub const fn new(code: &'static str, message: &'static str) -> Self {
        Self { code, message }
    }
}
