//! `#[derive(Event)]`.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Fields, Ident, LitInt, Member, Result, Type, Variant};

use crate::attributes::{OnEnum, OnVariant, check_event_name, kebab, plain, tag_of};
use crate::fields::{Payload, SERDE, Strictness, enum_of, serde_attributes};

/// One variant with its attributes.
struct EventVariant<'a> {
    variant: &'a Variant,
    name: String,
    aliases: Vec<String>,
    version: u16,
    /// The types of versions 1 to `version - 1`, in order.
    older: Vec<Type>,
    payload: Payload,
    /// The fields that become tags, with the keys of the tags.
    tags: Vec<(Member, String)>,
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let data = enum_of(input, "Event")?;
    let on_enum = OnEnum::parse(&input.attrs)?;
    let variants = data.variants.iter().map(|variant| EventVariant::parse(input, &on_enum, variant));
    let variants = variants.collect::<Result<Vec<_>>>()?;
    check_names(&variants)?;

    let ident = &input.ident;
    let definitions = variants.iter().map(|variant| &variant.payload.definition);
    let mirror = mirror(ident, &variants);
    let infos = variants.iter().map(EventVariant::info);
    let places = variants.iter().enumerate().map(|(at, variant)| {
        let name = &variant.variant.ident;
        quote!(Self::#name { .. } => #at)
    });
    let tags = variants.iter().filter(|variant| !variant.tags.is_empty()).map(EventVariant::tag_arm);
    let encodes =
        variants.iter().filter(|variant| matches!(variant.variant.fields, Fields::Unit)).map(|variant| {
            let name = &variant.variant.ident;
            quote!(Self::#name => ::gesta::__private::encode_unit())
        });
    let decodes = variants.iter().map(|variant| variant.decode_arm(ident));
    let fields = variants.iter().map(EventVariant::fields_arm);
    let ignore = on_enum.ignore;
    Ok(quote! {
        #[allow(dead_code, unreachable_patterns, non_camel_case_types, clippy::all, clippy::pedantic)]
        const _: () = {
            #(#definitions)*
            #mirror

            #[automatically_derived]
            impl ::gesta::Event for #ident {
                const TYPES: &'static [::gesta::EventTypeInfo] = &[#(#infos),*];
                const IGNORES_UNKNOWN: bool = #ignore;

                fn info(&self) -> &'static ::gesta::EventTypeInfo {
                    &<Self as ::gesta::Event>::TYPES[match self { #(#places),* }]
                }

                fn tags(&self) -> ::std::result::Result<::std::vec::Vec<::gesta::Tag>, ::gesta::NameError> {
                    match self {
                        #(#tags,)*
                        _ => ::std::result::Result::Ok(::std::vec::Vec::new()),
                    }
                }

                fn encode(&self) -> ::std::result::Result<::gesta::Bytes, ::gesta::EncodeError> {
                    match self {
                        #(#encodes,)*
                        _ => ::gesta::__private::encode_with(self.info(), |json| __Mirror::serialize(self, json)),
                    }
                }

                fn decode(
                    event_type: &str,
                    schema_version: u16,
                    data: &[u8],
                ) -> ::std::result::Result<::std::option::Option<Self>, ::gesta::DecodeError> {
                    match event_type {
                        #(#decodes,)*
                        _ => ::std::result::Result::Ok(::std::option::Option::None),
                    }
                }

                fn fields(event_type: &str) -> ::std::option::Option<&'static [&'static str]> {
                    match event_type {
                        #(#fields,)*
                        _ => ::std::option::Option::None,
                    }
                }
            }
        };
    })
}

/// A copy of the enum for serde's `remote` mode. It writes the fields of a borrowed event without a copy, with the
/// user's serde attributes.
fn mirror(ident: &Ident, variants: &[EventVariant<'_>]) -> TokenStream {
    let remote = ident.to_string();
    let variants = variants.iter().map(|variant| {
        let (name, attributes) = (&variant.variant.ident, serde_attributes(&variant.variant.attrs));
        let fields = variant.variant.fields.iter().map(|field| {
            let (attributes, ty) = (serde_attributes(&field.attrs), &field.ty);
            let name = field.ident.as_ref().map(|name| quote!(#name:));
            quote!(#(#attributes)* #name #ty)
        });
        let fields = match &variant.variant.fields {
            Fields::Named(_) => quote!({ #(#fields),* }),
            Fields::Unnamed(_) => quote!((#(#fields),*)),
            Fields::Unit => TokenStream::new(),
        };
        quote!(#(#attributes)* #name #fields)
    });
    quote! {
        #[derive(::gesta::__private::serde::Serialize)]
        #[serde(crate = #SERDE, remote = #remote, untagged)]
        enum __Mirror { #(#variants),* }
    }
}

impl<'a> EventVariant<'a> {
    fn parse(input: &DeriveInput, on_enum: &OnEnum, variant: &'a Variant) -> Result<Self> {
        let on_variant = OnVariant::parse(&variant.attrs)?;
        let name = match (&on_variant.name, &on_enum.prefix) {
            (Some(name), _) => name.value(),
            (None, Some(prefix)) => format!("{}.{}", prefix.value(), kebab(&plain(&variant.ident))),
            (None, None) => {
                let message =
                    "add #[event(prefix = \"...\")]: stored event names must not depend on Rust paths";
                return Err(Error::new_spanned(&input.ident, message));
            }
        };
        check_event_name(&name).map_err(|message| Error::new_spanned(variant, message))?;
        let version = on_variant.version.as_ref().map_or(Ok(1), schema_version)?;
        let older = older(&input.ident, &name, version, &on_variant)?;
        let members = variant.fields.iter().zip(variant.fields.members());
        let tags = members.map(|(field, member)| Ok(tag_of(field)?.map(|key| (member, key))));
        let tags = tags.collect::<Result<Vec<_>>>()?;
        Ok(Self {
            variant,
            aliases: on_variant.aliases.iter().map(syn::LitStr::value).collect(),
            version,
            older,
            payload: Payload::of(variant, Strictness::Tolerant)?,
            tags: tags.into_iter().flatten().collect(),
            name,
        })
    }

    fn info(&self) -> TokenStream {
        let Self { name, aliases, version, .. } = self;
        quote!(::gesta::EventTypeInfo::new(#name, &[#(#aliases),*], #version))
    }

    fn tag_arm(&self) -> TokenStream {
        let name = &self.variant.ident;
        let bound = (0..self.tags.len()).map(|at| format_ident!("__tag{at}")).collect::<Vec<_>>();
        let members = self.tags.iter().map(|(member, _)| member);
        let keys = self.tags.iter().map(|(_, key)| key);
        quote! {
            Self::#name { #(#members: #bound,)* .. } => {
                let mut tags = ::std::vec::Vec::new();
                #(::gesta::__private::add_tags(&mut tags, #keys, #bound)?;)*
                ::std::result::Result::Ok(tags)
            }
        }
    }

    fn fields_arm(&self) -> TokenStream {
        let Self { name, aliases, payload: Payload { read_as, .. }, .. } = self;
        quote!(#name #(| #aliases)* => ::gesta::__private::fields_of::<#read_as>())
    }

    fn decode_arm(&self, ident: &Ident) -> TokenStream {
        let Self { name, aliases, version, payload, .. } = self;
        let Payload { read_as, build, .. } = payload;
        let older = self.older.iter().zip(1_u16..).map(|(old, version)| {
            // With the span of the type, so that the compiler reports a missing `From` at the upcaster.
            let upcast = quote_spanned!(old.span()=> ::gesta::__private::decode_old::<#old, #ident>);
            quote!(#version => #upcast(#name, data))
        });
        quote! {
            #name #(| #aliases)* => match schema_version {
                #(#older,)*
                #version => ::gesta::__private::decode::<#read_as>(#name, data).map(|payload| #build),
                found => ::std::result::Result::Err(::gesta::DecodeError::UnknownSchemaVersion {
                    event_type: #name,
                    found,
                    newest: #version,
                }),
            }
            .map(::std::option::Option::Some)
        }
    }
}

fn schema_version(literal: &LitInt) -> Result<u16> {
    literal.base10_parse().ok().filter(|version| *version > 0).ok_or_else(|| {
        Error::new(
            literal.span(),
            "a schema version is a whole number from 1 to 65535; the first version is 1",
        )
    })
}

/// The types of all older versions. Every one must be declared.
fn older(ident: &Ident, name: &str, version: u16, on_variant: &OnVariant) -> Result<Vec<Type>> {
    let mut declared = Vec::new();
    for upcast in &on_variant.upcasts {
        let from = schema_version(&upcast.version)?;
        if from >= version {
            let message = format!(
                "`{name}` has version {version}, and an upcaster reads an older version: raise `version` to {} or more",
                u32::from(from) + 1
            );
            return Err(Error::new(upcast.version.span(), message));
        }
        if declared.iter().any(|(other, _)| *other == from) {
            return Err(Error::new(
                upcast.version.span(),
                format!("version {from} has two upcasters: remove one"),
            ));
        }
        declared.push((from, &upcast.old));
    }
    let types = (1..version).map(|wanted| {
        let found = declared.iter().find(|(from, _)| *from == wanted);
        found.map(|(_, old)| (*old).clone()).ok_or_else(|| {
            let message = format!(
                "version {version} of `{name}` has no upcaster from version {wanted}: add #[event(upcast({wanted} = OldType))] and `impl From<OldType> for {ident}`"
            );
            let span = on_variant.version.as_ref().map_or_else(|| ident.span(), LitInt::span);
            Error::new(span, message)
        })
    });
    types.collect()
}

fn check_names(variants: &[EventVariant<'_>]) -> Result<()> {
    let mut names = HashSet::new();
    for variant in variants {
        for name in std::iter::once(&variant.name).chain(&variant.aliases) {
            if !names.insert(name) {
                let message = format!(
                    "event type `{name}` is defined twice in this enum: rename one with #[event(name = \"...\")]"
                );
                return Err(Error::new_spanned(&variant.variant.ident, message));
            }
        }
    }
    Ok(())
}
