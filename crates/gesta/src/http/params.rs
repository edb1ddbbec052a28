//! The query part of an address: parameters taken by name, each understood or refused.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use super::Problem;
use crate::words::explain_parse;

/// The parameters of a request. A route takes those it knows; what is left at the end is refused, so that a
/// misspelt name never means "no filter".
///
/// It is an extractor for handlers, those of a host's own routes included.
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

    /// Every value of a parameter that may be repeated.
    pub fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        self.left.extract_if(.., |(own, _)| own == name).map(|(_, value)| value).collect()
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
    /// A [`Problem`] if it is given more than once, or is not of the type.
    pub fn read<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, Problem> {
        self.one(name)?.map(|text| parse(name, &text)).transpose()
    }

    /// Every value of a parameter that may be repeated, read as a type.
    ///
    /// # Errors
    /// A [`Problem`] if one is not of the type.
    pub fn read_all<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Vec<T>, Problem> {
        self.all(name).iter().map(|text| parse(name, text)).collect()
    }

    /// Refuses what no route took.
    ///
    /// # Errors
    /// A [`Problem`] that names the parameter, and those that are known.
    pub fn finish(self) -> Result<(), Problem> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        let known = self.known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let known =
            if known.is_empty() { "this route takes none".to_owned() } else { format!("known are {known}") };
        Err(Problem::invalid(format!("parameter `{name}` is unknown: {known}")))
    }
}

fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: T::Err| {
        let said = error.to_string();
        let reason = match explain_parse(&error) {
            // What is not explained names the text itself.
            own if own == said => own,
            explained => format!("`{}`: {explained}", text.chars().take(80).collect::<String>()),
        };
        Problem::invalid(format!("parameter `{name}`: {reason}"))
    })
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
    fn an_unknown_parameter_is_refused_with_those_known() {
        let mut params = Params::parse("limit=3&tag=a%3Ab&tag=c:d&typ=x").unwrap();
        assert_eq!(params.read::<u32>("limit").unwrap(), Some(3));
        assert_eq!(params.all("tag"), ["a:b", "c:d"]);
        let refused = params.finish().unwrap_err().to_json()["detail"].to_string();
        assert!(refused.contains("`typ` is unknown: known are `limit`, `tag`"), "{refused}");
    }

    #[test]
    fn a_parameter_that_stands_twice_is_refused() {
        let refused = Params::parse("limit=3&limit=4").unwrap().read::<u32>("limit").unwrap_err();
        assert!(refused.to_json()["detail"].to_string().contains("more than once"));
    }

    #[test]
    fn a_number_that_is_none_is_refused_in_plain_words() {
        let refused = Params::parse("limit=x").unwrap().read::<u32>("limit").unwrap_err();
        assert_eq!(refused.to_json()["detail"], "parameter `limit`: `x`: it is not a whole number");
    }
}
