//! The payload structs that derives generate: the fields of one variant, as serde sees them.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Error, Fields, GenericArgument, Ident, PathArguments, Result,
    Type, Variant,
};

/// The path to serde in generated code. The user's crate need not depend on serde.
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
            format!("`{derive}` is derived for an enum: turn this type into one"),
        )),
    }
}

/// The serde attributes of a variant or a field, to pass on to generated types.
pub(crate) fn serde_attributes(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("serde"))
}

/// An expression for the `FieldInfo` of a field of that type.
pub(crate) fn field_info(name: &str, ty: &Type) -> TokenStream {
    let rust_type = ty.to_token_stream().to_string().replace(' ', "");
    let element = element_of(ty);
    quote! {{
        #[allow(unused_imports)]
        use ::gesta::__private::NoCategory as _;
        ::gesta::FieldInfo::new(#name, #rust_type).of_category(::gesta::__private::Category::<#element>::OF)
    }}
}

/// The innermost type of options, lists and boxes.
fn element_of(ty: &Type) -> &Type {
    const WRAPPERS: [&str; 8] = ["Option", "Vec", "Box", "Arc", "Rc", "BTreeSet", "HashSet", "VecDeque"];
    let Type::Path(path) = ty else { return ty };
    let Some(last) = path.path.segments.last() else { return ty };
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) if WRAPPERS.iter().any(|name| last.ident == name) => {
            match arguments.args.first() {
                Some(GenericArgument::Type(inner)) => element_of(inner),
                _ => ty,
            }
        }
        _ => ty,
    }
}

/// True if a type is certainly not written as a JSON object. Types with names of their own are checked when an event is
/// encoded.
fn is_no_object(ty: &Type) -> bool {
    const NAMES: [&str; 36] = [
        "bool",
        "char",
        "f32",
        "f64",
        "u8",
        "u16",
        "u32",
        "u64",
        "u128",
        "usize",
        "i8",
        "i16",
        "i32",
        "i64",
        "i128",
        "isize",
        "str",
        "String",
        "Cow",
        "PathBuf",
        "Path",
        "Vec",
        "VecDeque",
        "BTreeSet",
        "HashSet",
        "Option",
        "NonZero",
        "NonZeroU8",
        "NonZeroU16",
        "NonZeroU32",
        "NonZeroU64",
        "NonZeroU128",
        "NonZeroUsize",
        "NonZeroI32",
        "NonZeroI64",
        "Uuid",
    ];
    match ty {
        Type::Array(_) | Type::Slice(_) | Type::Tuple(_) | Type::Never(_) => true,
        Type::Reference(reference) => is_no_object(&reference.elem),
        Type::Paren(inner) => is_no_object(&inner.elem),
        Type::Group(inner) => is_no_object(&inner.elem),
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            NAMES.iter().any(|name| last.ident == name)
                || ["Box", "Arc", "Rc"].iter().any(|name| last.ident == name)
                    && !std::ptr::eq(element_of(ty), ty)
                    && is_no_object(element_of(ty))
        }),
        _ => false,
    }
}

/// True if a field is flattened. The payload then has more fields than the variant.
fn is_flattened(variant: &Variant) -> bool {
    let mut attributes = variant.fields.iter().flat_map(|field| serde_attributes(&field.attrs));
    attributes.any(|attribute| {
        let mut found = false;
        // Serde's derive reports a malformed attribute.
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

/// What happens to unknown fields of a payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// They are ignored.
    Tolerant,
    /// They are refused.
    Strict,
}

/// True if a payload has a JSON Schema.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    /// It has none.
    Without,
    /// Its type derives one.
    With,
}

/// The path to schemars in generated code.
pub(crate) const SCHEMARS: &str = "::gesta::__private::schemars";

/// How the payload of one variant is read.
pub(crate) struct Payload {
    /// The type that serde reads.
    pub(crate) read_as: TokenStream,
    /// Its definition, if it is generated.
    pub(crate) definition: TokenStream,
    /// An expression that turns `payload`, which was read, into the variant.
    pub(crate) build: TokenStream,
}

impl Payload {
    pub(crate) fn of(variant: &Variant, strictness: Strictness, schema: Schema) -> Result<Self> {
        let name = &variant.ident;
        let helper = format_ident!("__{}", name);
        match &variant.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                let inner = &fields.unnamed[0].ty;
                if is_no_object(inner) {
                    let message = format!(
                        "`{name}` would be JSON without field names, which views and other programs cannot read: write `{name} {{ field: {} }}`, or put a struct in the brackets",
                        inner.to_token_stream().to_string().replace(' ', "")
                    );
                    return Err(Error::new_spanned(inner, message));
                }
                Ok(Self {
                    read_as: quote!(#inner),
                    definition: TokenStream::new(),
                    build: quote!(Self::#name(payload)),
                })
            }
            Fields::Unnamed(fields) => Err(Error::new_spanned(
                fields,
                "the fields of a payload need names: write `{ name: Type }`, or put one struct in the brackets",
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
                    definition: definition(variant, &helper, strictness, schema),
                    build,
                })
            }
        }
    }
}

fn definition(variant: &Variant, helper: &Ident, strictness: Strictness, schema: Schema) -> TokenStream {
    let passed = |attributes: &[Attribute]| {
        let ours = attributes.iter().filter(|attribute| {
            let path = attribute.path();
            path.is_ident("serde") || schema == Schema::With && path.is_ident("schemars")
        });
        ours.map(ToTokens::to_token_stream).collect::<Vec<_>>()
    };
    let on_variant = passed(&variant.attrs);
    let strict = (strictness == Strictness::Strict && !is_flattened(variant))
        .then(|| quote!(#[serde(deny_unknown_fields)]));
    let described = (schema == Schema::With).then(|| {
        quote! {
            #[derive(::gesta::__private::schemars::JsonSchema)]
            #[schemars(crate = #SCHEMARS)]
        }
    });
    let fields = variant.fields.iter().map(|field| {
        let (attributes, name, ty) = (passed(&field.attrs), &field.ident, &field.ty);
        quote!(#(#attributes)* #name: #ty)
    });
    quote! {
        #[derive(::gesta::__private::serde::Deserialize)]
        #described
        #[serde(crate = #SERDE)]
        #strict
        #(#on_variant)*
        struct #helper { #(#fields),* }
    }
}
