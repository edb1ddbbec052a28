//! `#[derive(Command)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Fields, Result, Variant};

use crate::attributes::{command_name, has_command_schema, kebab, plain};
use crate::fields::{Payload, Schema, Strictness, enum_of, field_info};

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let data = enum_of(input, "Command")?;
    let mut names = Vec::new();
    for variant in &data.variants {
        let name =
            command_name(&variant.attrs)?.map_or_else(|| kebab(&plain(&variant.ident)), |name| name.value());
        if names.contains(&name) {
            let message = format!(
                "command `{name}` is defined twice in this enum: give one `#[command(name = \"…\")]`"
            );
            return Err(Error::new_spanned(variant, message));
        }
        names.push(name);
    }
    let schema = if has_command_schema(&input.attrs)? { Schema::With } else { Schema::Without };
    let payloads = data.variants.iter().map(|variant| Payload::of(variant, Strictness::Strict, schema));
    let payloads = payloads.collect::<Result<Vec<_>>>()?;
    let definitions = payloads.iter().map(|payload| &payload.definition);
    let arms = names.iter().zip(&payloads).map(|(name, Payload { read_as, build, .. })| {
        quote!(#name => ::gesta::__private::read_input::<#read_as>(json).map(|payload| #build))
    });
    let infos = names.iter().zip(&data.variants).map(|(name, variant)| info(name, variant));
    let named = names.iter().zip(&data.variants).map(|(name, variant)| {
        let variant = &variant.ident;
        quote!(Self::#variant { .. } => #name)
    });
    let schemas = (schema == Schema::With).then(|| {
        let read_as = payloads.iter().map(|payload| &payload.read_as);
        quote! {
            fn schemas() -> ::std::vec::Vec<(&'static str, ::gesta::__private::Json)> {
                ::std::vec![#((#names, ::gesta::__private::schema_of::<#read_as>())),*]
            }
        }
    });
    let ident = &input.ident;
    Ok(quote! {
        #[allow(dead_code, non_camel_case_types, clippy::all, clippy::pedantic)]
        const _: () = {
            #(#definitions)*

            #[automatically_derived]
            impl ::gesta::Command for #ident {
                const COMMANDS: &'static [::gesta::CommandInfo] = &[#(#infos),*];

                fn name(&self) -> &'static str {
                    match self { #(#named),* }
                }

                fn decode(name: &str, json: &[u8]) -> ::std::option::Option<::std::result::Result<Self, ::gesta::InputError>> {
                    ::std::option::Option::Some(match name {
                        #(#arms,)*
                        _ => return ::std::option::Option::None,
                    })
                }

                #schemas
            }
        };
    })
}

fn info(name: &str, variant: &Variant) -> TokenStream {
    let named = matches!(variant.fields, Fields::Named(_));
    let fields = variant.fields.iter().filter(|_| named).filter_map(|field| {
        let name = plain(field.ident.as_ref()?);
        Some(field_info(&name, &field.ty))
    });
    quote!(::gesta::CommandInfo { name: #name, fields: &[#(#fields),*] })
}
