//! `#[derive(Key)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, LitStr, Member, Result};

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let kind = kind(input)?;
    let (member, inner) = field(input)?;
    let name = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::gesta::Key for #name {
            const KIND: &'static str = #kind;

            fn value(&self) -> ::std::string::String {
                ::std::string::ToString::to_string(&self.#member)
            }

            fn parse(text: &str) -> ::std::result::Result<Self, ::gesta::KeyError> {
                let inner = <#inner as ::std::str::FromStr>::from_str(text)
                    .map_err(|error| ::gesta::KeyError::new(#kind, text, &error))?;
                ::gesta::__private::canonical_key(Self { #member: inner }, text)
            }
        }

        #[automatically_derived]
        impl ::gesta::TagValue for #name {
            fn each_tag_value(&self, take: &mut dyn ::std::ops::FnMut(&str)) {
                take(&::gesta::Key::value(self));
            }
        }
    })
}

fn kind(input: &DeriveInput) -> Result<LitStr> {
    let Some(attribute) = input.attrs.iter().find(|attribute| attribute.path().is_ident("key")) else {
        let message = "add #[key(\"…\")]: the category of the streams that these ids name";
        return Err(Error::new_spanned(&input.ident, message));
    };
    let kind: LitStr = attribute.parse_args()?;
    let text = kind.value();
    let message = if text.is_empty() {
        "the category is empty: give it at least one character".to_owned()
    } else if text.contains('-') {
        format!("category `{text}` holds a `-`: the category of a stream ends at the first `-` of its name")
    } else if text.starts_with('$') {
        format!("category `{text}` begins with `$`: these streams belong to the system")
    } else if text.len() > 100 || text.chars().any(|character| character.is_control() || character == '/') {
        "a category has at most 100 bytes, no control character and no `/`".to_owned()
    } else {
        return Ok(kind);
    };
    Err(Error::new(kind.span(), message))
}

fn field(input: &DeriveInput) -> Result<(Member, &syn::Type)> {
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "`Key` cannot be derived for a generic struct: name the type",
        ));
    }
    let one = match &input.data {
        Data::Struct(data) if data.fields.len() == 1 => data.fields.iter().zip(data.fields.members()).next(),
        _ => None,
    };
    one.map(|(field, member)| (member, &field.ty)).ok_or_else(|| {
        Error::new_spanned(
            &input.ident,
            "`Key` is derived for a struct of one field, such as `struct AccountId(String);`",
        )
    })
}
