//! The payload structs that derives generate: the fields of one variant, as serde sees them.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Attribute, Data, DataEnum, DeriveInput, Error, Fields, Ident, Result, Variant};

/// Where the derives find serde, whatever the user's crate depends on.
pub(crate) const SERDE: &str = "::gesta::__private::serde";

/// The enum under a derive, without generics.
pub(crate) fn enum_of<'a>(input: &'a DeriveInput, derive: &str) -> Result<&'a DataEnum> {
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            format!("`{derive}` cannot be derived for a generic enum: name the types"),
        ));
    }
    match &input.data {
        Data::Enum(data) if !data.variants.is_empty() => Ok(data),
        Data::Enum(_) => Err(Error::new_spanned(&input.ident, "the enum has no variants: add at least one")),
        _ => Err(Error::new_spanned(
            &input.ident,
            format!("`{derive}` is derived for an enum: make this one, with a variant for each"),
        )),
    }
}

/// What serde is told about a variant or a field: its own attributes, passed on.
pub(crate) fn serde_attributes(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("serde"))
}

/// Whether a field is flattened, so that the payload's own fields are not all there are.
fn is_flattened(variant: &Variant) -> bool {
    let mut attributes = variant.fields.iter().flat_map(|field| serde_attributes(&field.attrs));
    attributes.any(|attribute| {
        let mut found = false;
        // What serde's own derive will complain of is not our business.
        let _ = attribute.parse_nested_meta(|meta| {
            found |= meta.path.is_ident("flatten");
            if meta.input.peek(syn::Token![=]) {
                meta.value()?.parse::<syn::Expr>()?;
            }
            Ok(())
        });
        found
    })
}

/// Whether fields that a payload does not have are ignored or refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    Tolerant,
    Strict,
}

/// How the payload of one variant is read.
pub(crate) struct Payload {
    /// The type that serde reads.
    pub(crate) read_as: TokenStream,
    /// Its definition, if it is generated.
    pub(crate) definition: TokenStream,
    /// An expression that makes the variant of what was read, `payload`.
    pub(crate) build: TokenStream,
}

impl Payload {
    pub(crate) fn of(variant: &Variant, strictness: Strictness) -> Result<Self> {
        let name = &variant.ident;
        let helper = format_ident!("__{}", name);
        match &variant.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                let inner = &fields.unnamed[0].ty;
                Ok(Self {
                    read_as: quote!(#inner),
                    definition: TokenStream::new(),
                    build: quote!(Self::#name(payload)),
                })
            }
            Fields::Unnamed(fields) => Err(Error::new_spanned(
                fields,
                "a payload's fields need names: write `{ name: Type }`, or one struct in the brackets",
            )),
            fields => {
                let members = fields.iter().filter_map(|field| field.ident.as_ref()).collect::<Vec<_>>();
                let build = if matches!(fields, Fields::Unit) {
                    quote!({ let #helper {} = payload; Self::#name })
                } else {
                    quote!({ let #helper { #(#members),* } = payload; Self::#name { #(#members),* } })
                };
                Ok(Self {
                    read_as: quote!(#helper),
                    definition: definition(variant, &helper, strictness),
                    build,
                })
            }
        }
    }
}

fn definition(variant: &Variant, helper: &Ident, strictness: Strictness) -> TokenStream {
    let on_variant = serde_attributes(&variant.attrs);
    let strict = (strictness == Strictness::Strict && !is_flattened(variant))
        .then(|| quote!(#[serde(deny_unknown_fields)]));
    let fields = variant.fields.iter().map(|field| {
        let (attributes, name, ty) = (serde_attributes(&field.attrs), &field.ident, &field.ty);
        quote!(#(#attributes)* #name: #ty)
    });
    quote! {
        #[derive(::gesta::__private::serde::Deserialize)]
        #[serde(crate = #SERDE)]
        #strict
        #(#on_variant)*
        struct #helper { #(#fields),* }
    }
}
