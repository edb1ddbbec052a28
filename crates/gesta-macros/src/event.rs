//! `#[derive(Event)]`.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Fields, Ident, Member, Result, Variant};

use crate::attributes::{OnEnum, OnVariant, Reads, check_event_name, kebab, plain, tag_of};
use crate::fields::{Payload, SERDE, Schema, Strictness, enum_of, serde_attributes};
use crate::versions::{ahead, older, schema_version};

/// One variant with its attributes.
struct EventVariant<'a> {
    variant: &'a Variant,
    name: String,
    aliases: Vec<String>,
    version: u16,
    /// How versions 1 to `version - 1` are read, in order.
    older: Vec<Reads>,
    /// How the versions from `version + 1` on are read, in order.
    ahead: Vec<Reads>,
    payload: Payload,
    /// The fields that become tags, with the keys of the tags.
    tags: Vec<(Member, String)>,
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let data = enum_of(input, "Event")?;
    let on_enum = OnEnum::parse(&input.attrs)?;
    let variants = data.variants.iter().map(|variant| EventVariant::parse(input, &on_enum, variant));
    let variants = variants.collect::<Result<Vec<_>>>()?;
    let retired = on_enum.retired.iter().map(|retired| {
        let (name, last) = (retired.name.value(), schema_version(&retired.last)?);
        Ok((name, last))
    });
    let retired = retired.collect::<Result<Vec<_>>>()?;
    check_names(&variants, &on_enum)?;

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
    let decode = decode(ident, &variants, &retired);
    let schemas = on_enum.schema.then(|| schemas(&variants, &retired));
    let retired = retired.iter().map(|(name, last)| quote!(::gesta::EventTypeInfo::new(#name, &[], #last)));
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
                const RETIRED: &'static [::gesta::EventTypeInfo] = &[#(#retired),*];
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

                #decode

                fn fields(event_type: &str) -> ::std::option::Option<&'static [&'static str]> {
                    match event_type {
                        #(#fields,)*
                        _ => ::std::option::Option::None,
                    }
                }

                #schemas
            }
        };
    })
}

/// The function that decodes: an arm for each variant and for each retired type.
fn decode(ident: &Ident, variants: &[EventVariant<'_>], retired: &[(String, u16)]) -> TokenStream {
    let of_variants = variants.iter().map(|variant| variant.decode_arm(ident));
    let of_retired = retired.iter().map(
        |(name, last)| quote!(#name => ::gesta::__private::decode_retired(#name, schema_version, #last)),
    );
    let arms = of_variants.chain(of_retired);
    quote! {
        fn decode(
            event_type: &str,
            schema_version: u16,
            data: &[u8],
            take: &mut dyn ::std::ops::FnMut(Self),
        ) -> ::std::result::Result<bool, ::gesta::DecodeError> {
            match event_type {
                #(#arms,)*
                _ => ::std::result::Result::Ok(false),
            }
        }
    }
}

/// The schemas of every version.
fn schemas(variants: &[EventVariant<'_>], retired: &[(String, u16)]) -> TokenStream {
    let of_variants = variants.iter().flat_map(EventVariant::schemas);
    let of_retired = retired.iter().flat_map(|(name, last)| {
        (1..=*last).map(move |version| {
            quote! {
                ::gesta::schema::EventSchema::new(#name, &[], #version, ::gesta::schema::SchemaState::Retired)
            }
        })
    });
    let all = of_variants.chain(of_retired);
    quote! {
        fn schemas() -> ::std::vec::Vec<::gesta::schema::EventSchema> {
            ::std::vec![#(#all),*]
        }
    }
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
        let ahead = ahead(&name, version, &on_variant.ahead)?;
        let schema = if on_enum.schema { Schema::With } else { Schema::Without };
        let members = variant.fields.iter().zip(variant.fields.members());
        let tags = members.map(|(field, member)| Ok(tag_of(field)?.map(|key| (member, key))));
        let tags = tags.collect::<Result<Vec<_>>>()?;
        Ok(Self {
            variant,
            aliases: on_variant.aliases.iter().map(syn::LitStr::value).collect(),
            version,
            older,
            ahead,
            payload: Payload::of(variant, Strictness::Tolerant, schema)?,
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

    fn newest(&self) -> u16 {
        self.version + u16::try_from(self.ahead.len()).unwrap_or(0)
    }

    /// The schema of each version.
    fn schemas(&self) -> Vec<TokenStream> {
        let Self { name, aliases, version, payload: Payload { read_as, .. }, .. } = self;
        let keys = self.tags.iter().map(|(_, key)| key);
        let current = quote! {
            .with_tags(&[#(#keys),*]).with_schema(&::gesta::__private::schema_of::<#read_as>())
        };
        let of_version = |(version, state, described): (u16, TokenStream, TokenStream)| {
            quote! {
                ::gesta::schema::EventSchema::new(
                    #name, &[#(#aliases),*], #version, ::gesta::schema::SchemaState::#state
                ) #described
            }
        };
        let older =
            (1..*version).zip(&self.older).map(|(version, reads)| (version, quote!(Superseded), reads));
        let ahead = (*version + 1..).zip(&self.ahead).map(|(version, reads)| (version, quote!(Ahead), reads));
        let others = older.chain(ahead).map(|(version, state, reads)| {
            let described = match reads {
                Reads::One(other) | Reads::Many(other) => {
                    let schema = quote_spanned!(other.span()=> ::gesta::__private::schema_of::<#other>());
                    quote!(.with_schema(&#schema))
                }
                Reads::Same | Reads::Nothing => TokenStream::new(),
            };
            of_version((version, state, described))
        });
        others.chain(std::iter::once(of_version((*version, quote!(Current), current)))).collect()
    }

    fn decode_arm(&self, ident: &Ident) -> TokenStream {
        let Self { name, aliases, version, payload, .. } = self;
        let Payload { read_as, build, .. } = payload;
        let current = quote!(::gesta::__private::decode::<#read_as>(#name, data).map(|payload| take(#build)));
        let newest = self.newest();
        let others = (1..*version).zip(&self.older).chain((*version + 1..=newest).zip(&self.ahead));
        let others = others.map(|(version, reads)| {
            // With the span of the type, so that the compiler reports a missing `From` at the upcaster.
            let read = match reads {
                Reads::One(old) => {
                    let decode = quote_spanned!(old.span()=> ::gesta::__private::decode_old::<#old, #ident>);
                    quote!(#decode(#name, data, take))
                }
                Reads::Many(old) => {
                    let decode = quote_spanned!(old.span()=> ::gesta::__private::decode_many::<#old, #ident>);
                    quote!(#decode(#name, data, take))
                }
                Reads::Same => current.clone(),
                Reads::Nothing => quote!(::std::result::Result::Ok(())),
            };
            quote!(#version => #read)
        });
        quote! {
            #name #(| #aliases)* => match schema_version {
                #(#others,)*
                #version => #current,
                found => ::std::result::Result::Err(::gesta::DecodeError::UnknownSchemaVersion {
                    event_type: #name,
                    found,
                    newest: #newest,
                }),
            }
            .map(|()| true)
        }
    }
}

fn check_names(variants: &[EventVariant<'_>], on_enum: &OnEnum) -> Result<()> {
    let mut seen = HashSet::new();
    for variant in variants {
        for name in std::iter::once(&variant.name).chain(&variant.aliases) {
            if !seen.insert(name.clone()) {
                let message = format!(
                    "event type `{name}` is defined twice in this enum: rename one with #[event(name = \"...\")]"
                );
                return Err(Error::new_spanned(&variant.variant.ident, message));
            }
        }
    }
    for retired in &on_enum.retired {
        let name = retired.name.value();
        if !seen.insert(name.clone()) {
            let message =
                format!("event type `{name}` is retired and also in this enum: remove one of the two");
            return Err(Error::new(retired.name.span(), message));
        }
    }
    Ok(())
}
