//! `#[derive(Refusal)]`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Attribute, DeriveInput, Expr, ExprLit, Fields, Lit, LitStr, Meta, Result, Variant};

use crate::attributes::{kebab, plain};
use crate::fields::enum_of;

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let data = enum_of(input, "Refusal")?;
    let arms = data.variants.iter().map(arm);
    let infos = data.variants.iter().map(|variant| {
        let (code, message) = (plain(&variant.ident), text(variant));
        quote!(::gesta::RefusalInfo::new(#code, #message))
    });
    let ident = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::std::fmt::Display for #ident {
            #[allow(unused_variables)]
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match self { #(#arms),* }
            }
        }

        #[automatically_derived]
        impl ::std::error::Error for #ident {}

        #[automatically_derived]
        impl ::gesta::Refusal for #ident {
            const REFUSALS: &'static [::gesta::RefusalInfo] = &[#(#infos),*];
        }
    })
}

/// The message of a variant: its documentation, else its name in words.
fn text(variant: &Variant) -> LitStr {
    let text = message(&variant.attrs).unwrap_or_else(|| kebab(&plain(&variant.ident)).replace('-', " "));
    LitStr::new(&text, Span::call_site())
}

fn arm(variant: &Variant) -> TokenStream {
    let (name, text) = (&variant.ident, text(variant));
    match &variant.fields {
        Fields::Named(fields) => {
            let members = fields.named.iter().filter_map(|field| field.ident.as_ref());
            quote!(Self::#name { #(#members),* } => ::std::write!(f, #text))
        }
        _ => quote!(Self::#name { .. } => f.write_str(#text)),
    }
}

/// The first paragraph of the documentation as a message: lower-case first letter, no full stop.
fn message(attributes: &[Attribute]) -> Option<String> {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => Some(line.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    let paragraph = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let text = paragraph.strip_suffix('.').unwrap_or(&paragraph);
    let mut characters = text.chars();
    let first = characters.next()?;
    let is_name = characters.clone().next().is_some_and(char::is_uppercase);
    let first = if is_name { first.to_string() } else { first.to_lowercase().to_string() };
    Some(first + characters.as_str())
}
