//! Derives of the `gesta` crate: `Event`, `Command` and `Key`. Use them through `gesta`, which documents them.

mod attributes;
mod command;
mod decision;
mod event;
mod fields;
mod key;
mod refusal;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes an enum the events of something: stable names, schema versions, upcasters, tags. See `gesta::Event`.
#[proc_macro_derive(Event, attributes(event, tag, serde))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an enum the commands of a decider, each decodable from JSON by its name. See `gesta::Command`.
#[proc_macro_derive(Command, attributes(command, serde))]
pub fn derive_command(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    command::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a struct of one field the id of a kind of entity. See `gesta::Key`.
#[proc_macro_derive(Key, attributes(key))]
pub fn derive_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    key::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an enum an error type: a variant's documentation is its message. See `gesta::Decider`.
#[proc_macro_derive(Refusal)]
pub fn derive_refusal(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    refusal::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a decision of a function: of `fn transfer(from: &At<Account>, …)` the struct `Transfer` with the ids of the
/// entities and the inputs. See `gesta::Decision`.
#[proc_macro_attribute]
pub fn decision(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let attribute = proc_macro2::TokenStream::from(attribute);
    if !attribute.is_empty() {
        return syn::Error::new_spanned(attribute, "`#[decision]` takes no arguments")
            .into_compile_error()
            .into();
    }
    let function = parse_macro_input!(item as syn::ItemFn);
    decision::expand(&function).unwrap_or_else(syn::Error::into_compile_error).into()
}
