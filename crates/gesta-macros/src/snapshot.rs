//! `#[snapshot]`: the declaration that a state is kept as snapshots.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, ImplItem, ItemImpl, LitInt, Result, Token};

const SHAPE: &str = "put `#[snapshot(every = 500)]` on `impl State for …`";

/// `every = 500, version = 2`.
pub(crate) struct Arguments {
    every: LitInt,
    version: Option<LitInt>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (mut every, mut version) = (None, None);
        let arguments = Punctuated::<Argument, Token![,]>::parse_terminated(input)?;
        for Argument { name, value } in arguments {
            let place = match name.to_string().as_str() {
                "every" => &mut every,
                "version" => &mut version,
                _ => return Err(Error::new(name.span(), "unknown argument: expected `every` or `version`")),
            };
            if place.replace(value).is_some() {
                return Err(Error::new(name.span(), format!("`{name}` is given twice: remove one")));
            }
        }
        let every = every.ok_or_else(|| {
            let message = "say after how many events a snapshot is taken, such as `#[snapshot(every = 500)]`";
            Error::new(input.span(), message)
        })?;
        if every.base10_parse::<u64>()? == 0 {
            return Err(Error::new(every.span(), "a snapshot is taken about every 1 or more events"));
        }
        version.as_ref().map_or(Ok(1), LitInt::base10_parse::<u32>)?;
        Ok(Self { every, version })
    }
}

struct Argument {
    name: Ident,
    value: LitInt,
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Self { name, value: input.parse()? })
    }
}

pub(crate) fn expand(arguments: &Arguments, implementation: &ItemImpl) -> Result<TokenStream> {
    let is_state = implementation.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
    if is_state.is_none_or(|segment| segment.ident != "State") {
        return Err(Error::new_spanned(&implementation.self_ty, SHAPE));
    }
    let declares =
        |item: &&ImplItem| matches!(item, ImplItem::Fn(function) if function.sig.ident == "snapshots");
    if let Some(item) = implementation.items.iter().find(declares) {
        return Err(Error::new_spanned(item, "`#[snapshot]` writes this function: remove one of them"));
    }
    let name = text(implementation.self_ty.to_token_stream());
    let code = text(implementation.to_token_stream());
    let every = &arguments.every;
    let version = arguments.version.as_ref().map_or_else(|| quote!(1), ToTokens::to_token_stream);
    let mut declared = implementation.clone();
    declared.items.push(syn::parse_quote! {
        fn snapshots() -> ::std::option::Option<::gesta::Snapshots<Self>> {
            ::std::option::Option::Some(::gesta::Snapshots::new(#every, #version, #name, #code))
        }
    });
    Ok(declared.into_token_stream())
}

/// The tokens as text, without doc comments. The layout of the source and the printer of the compiler do not matter.
fn text(tokens: TokenStream) -> String {
    let mut text = String::new();
    write(tokens, &mut text);
    text.truncate(text.trim_end().len());
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' && tokens.peek().is_some_and(is_doc) => {
                tokens.next();
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("( ", ") "),
                    Delimiter::Brace => ("{ ", "} "),
                    Delimiter::Bracket => ("[ ", "] "),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
            }
            token => {
                text.push_str(&token.to_string());
                text.push(' ');
            }
        }
    }
}

/// True for the part of a doc comment after its `#`: `[doc = "…"]`.
fn is_doc(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    let first = group.stream().into_iter().next();
    matches!(first, Some(TokenTree::Ident(name)) if name == "doc")
}

#[cfg(test)]
mod tests {
    use syn::parse_str;

    use super::*;

    fn check(arguments: &str, implementation: &str) -> std::result::Result<String, String> {
        let arguments = parse_str::<Arguments>(arguments).map_err(|error| error.to_string())?;
        let implementation = parse_str::<ItemImpl>(implementation).expect("the source of the test is Rust");
        expand(&arguments, &implementation)
            .map(|tokens| tokens.to_string())
            .map_err(|error| error.to_string())
    }

    const STATE: &str = "impl State for Account { fn evolve(&mut self, event: E) { self.n += 1; } }";

    #[test]
    fn mistakes_name_the_remedy() {
        for (arguments, implementation, expected) in [
            ("", STATE, "say after how many events a snapshot is taken, such as `#[snapshot(every = 500)]`"),
            ("every = 0", STATE, "a snapshot is taken about every 1 or more events"),
            ("every = 5, evry = 2", STATE, "unknown argument: expected `every` or `version`"),
            ("every = 5, every = 2", STATE, "`every` is given twice: remove one"),
            ("every = 5", "impl Decider for Account {}", SHAPE),
            ("every = 5", "impl Account {}", SHAPE),
            (
                "every = 5",
                "impl State for Account { fn snapshots() {} }",
                "`#[snapshot]` writes this function: remove one of them",
            ),
        ] {
            assert_eq!(check(arguments, implementation), Err(expected.to_owned()), "{arguments}");
        }
    }

    #[test]
    fn comments_and_layout_do_not_change_the_text_of_the_code() {
        let plain = check("every = 5", STATE).expect("a declaration");
        let described = check(
            "every = 5",
            "/// A.\nimpl State for Account {\n /// B.\n fn evolve( &mut self, event : E ) { // c\n self.n+=1; } }",
        );
        let code =
            |tokens: &str| tokens.split("Snapshots :: new").nth(1).map(str::to_owned).expect("the call");
        assert_eq!(code(&described.expect("a declaration")), code(&plain));
        let changed = check("every = 5", &STATE.replace("+= 1", "+= 2")).expect("a declaration");
        assert_ne!(code(&changed), code(&plain));
    }
}
