//! The parameters of an address, taken by name. One that no route takes is refused.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Request};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Problem;
use crate::words::explain_parse;

/// The parameters of a request, as an extractor for handlers. A route takes the ones it knows and calls [`Params::finish`], which
/// refuses the rest: a misspelt name never means "no filter".
#[derive(Debug)]
pub struct Params {
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::parse(parts.uri.query().unwrap_or(""))
    }
}

impl Params {
    fn parse(query: &str) -> Result<Self, Problem> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self { left: decoded.collect::<Result<_, Problem>>()?, known: Vec::new() })
    }

    /// All values of a parameter that may be repeated.
    pub fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        self.left.extract_if(.., |(given, _)| given == name).map(|(_, value)| value).collect()
    }

    /// The value of a parameter that may be given once.
    ///
    /// # Errors
    /// A [`Problem`] if it is given more than once.
    pub fn one(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(Problem::invalid(format!("parameter `{name}` is given more than once"))),
        }
    }

    /// The value of a parameter that may be given once, read as a type.
    ///
    /// # Errors
    /// A [`Problem`] if it is given more than once, or cannot be read as the type.
    pub fn read<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, Problem> {
        self.one(name)?.map(|text| parse(name, &text)).transpose()
    }

    /// All values of a parameter that may be repeated, read as a type.
    ///
    /// # Errors
    /// A [`Problem`] if a value cannot be read as the type.
    pub fn read_all<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Vec<T>, Problem> {
        self.all(name).iter().map(|text| parse(name, text)).collect()
    }

    /// Refuses the parameters that were not taken.
    ///
    /// # Errors
    /// A [`Problem`] that names the parameter and lists the known ones.
    pub fn finish(self) -> Result<(), Problem> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        let known = self.known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let known =
            if known.is_empty() { "this route takes none".to_owned() } else { format!("known are {known}") };
        Err(Problem::invalid(format!("parameter `{name}` is unknown: {known}")))
    }
}

/// The address of the next page: this address, with one parameter set to a new value.
#[must_use]
pub fn next_address(uri: &Uri, name: &str, value: &str) -> String {
    let others = uri.query().unwrap_or("").split('&');
    let others = others.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(name));
    let value = utf8_percent_encode(value, RESERVED);
    let params = others.map(str::to_owned).chain([format!("{name}={value}")]).collect::<Vec<_>>().join("&");
    format!("{}?{params}", uri.path())
}

/// The characters that are escaped in an address: all but those that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: T::Err| {
        let said = error.to_string();
        let reason = match explain_parse(&error) {
            // An error that is not explained names the text itself.
            unexplained if unexplained == said => unexplained,
            explained => format!("`{}`: {explained}", text.chars().take(80).collect::<String>()),
        };
        Problem::invalid(format!("parameter `{name}`: {reason}"))
    })
}

/// A layer that refuses an address with a `%` that begins no escape: it would be taken as it stands.
///
/// # Errors
/// A [`Problem`], 400, that shows the place.
pub async fn refuse_bad_escapes(request: Request, next: Next) -> Result<Response, Problem> {
    check_escapes(request.uri())?;
    Ok(next.run(request).await)
}

fn check_escapes(uri: &Uri) -> Result<(), Problem> {
    let text = uri.path_and_query().map_or("", |text| text.as_str());
    let is_hex = |after: &str| after.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    let wrong = text.match_indices('%').find(|(at, _)| !is_hex(&text[at + 1..]));
    let Some((at, _)) = wrong else { return Ok(()) };
    let shown = text[at..].chars().take(3).collect::<String>();
    Err(Problem::invalid(format!("`{shown}` in the address is no escape: write `%25` for a `%`")))
}

fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| Problem::invalid("a parameter is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_begins_an_escape() {
        let check = |text: &str| check_escapes(&text.parse().unwrap()).is_ok();
        assert!(check("/streams/a%2Fb?tag=a%3ab") && check("/"));
        assert!(!check("/streams/%zz") && !check("/streams/a%2") && !check("/?tag=%"));
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_those_known() {
        let mut params = Params::parse("limit=3&tag=a%3Ab&tag=c:d&typ=x").unwrap();
        assert_eq!(params.read::<u32>("limit").unwrap(), Some(3));
        assert_eq!(params.all("tag"), ["a:b", "c:d"]);
        let refused = params.finish().unwrap_err().to_json()["detail"].to_string();
        assert!(refused.contains("`typ` is unknown: known are `limit`, `tag`"), "{refused}");
    }

    #[test]
    fn the_next_address_keeps_the_other_parameters() {
        let next = |uri: &str| next_address(&uri.parse().unwrap(), "after", "a/b é");
        assert_eq!(next("/streams"), "/streams?after=a%2Fb%20%C3%A9");
        assert_eq!(
            next("/streams?limit=1&after=x&category=c"),
            "/streams?limit=1&category=c&after=a%2Fb%20%C3%A9"
        );
    }

    #[test]
    fn a_parameter_that_is_given_twice_is_refused() {
        let refused = Params::parse("limit=3&limit=4").unwrap().read::<u32>("limit").unwrap_err();
        assert!(refused.to_json()["detail"].to_string().contains("more than once"));
    }

    #[test]
    fn a_text_that_is_not_a_number_is_refused_in_plain_words() {
        let refused = Params::parse("limit=x").unwrap().read::<u32>("limit").unwrap_err();
        assert_eq!(refused.to_json()["detail"], "parameter `limit`: `x`: it is not a whole number");
    }
}
