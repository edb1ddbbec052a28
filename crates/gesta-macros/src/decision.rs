//! `#[decision]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, ItemFn, Pat, PathArguments, Result, ReturnType, Type,
};

use crate::attributes::plain;
use crate::fields::SERDE;

const SHAPE: &str = "a decision is a function such as `fn transfer(from: &At<Account>, to: &At<Account>, amount: u64) -> Result<Vec<NewFact>, Refused>`";

/// A parameter: an entity that is looked at, or an input.
struct Parameter<'a> {
    name: &'a Ident,
    ty: &'a Type,
    entity: Option<&'a Type>,
}

pub(crate) fn expand(function: &ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    if signature.asyncness.is_some() || !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(
            signature,
            format!("{SHAPE}: neither async nor generic, since it is decided again after a conflict"),
        ));
    }
    let parameters = signature.inputs.iter().map(Parameter::of).collect::<Result<Vec<_>>>()?;
    let entities = parameters.iter().filter_map(|own| Some((own.name, own.entity?))).collect::<Vec<_>>();
    if !(1..=4).contains(&entities.len()) {
        return Err(Error::new_spanned(
            &signature.inputs,
            format!("{SHAPE}: with one to four entities, each `&At<State>`"),
        ));
    }
    let error = error_of(&signature.output)?;
    let docs = function.attrs.iter().filter(|attribute| is_doc(attribute));
    let (visibility, name) = (&function.vis, &signature.ident);
    let decision = format_ident!("{}", pascal(&plain(name)), span = name.span());
    let fields = parameters.iter().map(Parameter::field);
    let infos = parameters.iter().map(Parameter::info);
    let states = entities.iter().map(|(_, state)| state).collect::<Vec<_>>();
    let names = entities.iter().map(|(name, _)| name).collect::<Vec<_>>();
    let arguments = parameters.iter().map(|own| {
        let name = own.name;
        if own.entity.is_some() { quote!(#name) } else { quote!(self.#name) }
    });
    Ok(quote! {
        #function

        #(#docs)*
        #[derive(Debug, Clone, ::gesta::__private::serde::Deserialize)]
        #[serde(crate = #SERDE, deny_unknown_fields)]
        #visibility struct #decision { #(#fields),* }

        #[automatically_derived]
        impl ::gesta::Decision for #decision {
            type State = (#(::gesta::At<#states>,)*);
            type Error = #error;

            const FIELDS: &'static [::gesta::FieldInfo] = &[#(#infos),*];

            fn boundary(&self) -> Self::State {
                (#(<#states as ::gesta::Decider>::at(&self.#names),)*)
            }

            fn decide(
                self,
                (#(#names,)*): &Self::State,
            ) -> ::std::result::Result<::std::vec::Vec<::gesta::NewFact>, #error> {
                #name(#(#arguments),*)
            }
        }
    })
}

impl<'a> Parameter<'a> {
    fn of(argument: &'a FnArg) -> Result<Self> {
        let FnArg::Typed(argument) = argument else { return Err(Error::new_spanned(argument, SHAPE)) };
        let Pat::Ident(pattern) = &*argument.pat else {
            return Err(Error::new_spanned(&argument.pat, SHAPE));
        };
        let entity = match &*argument.ty {
            Type::Reference(reference) => Some(entity_of(&reference.elem).ok_or_else(|| {
                let message =
                    "an input is taken by value; what is behind a reference is an entity, `&At<State>`";
                Error::new_spanned(reference, message)
            })?),
            _ => None,
        };
        Ok(Self { name: &pattern.ident, ty: &argument.ty, entity })
    }

    fn field(&self) -> TokenStream {
        let Self { name, ty, entity } = self;
        let (docs, ty) = match entity {
            Some(state) => {
                (format!("The id of `{}`.", plain(name)), quote!(<#state as ::gesta::Decider>::Id))
            }
            None => (format!("The input `{}`.", plain(name)), quote!(#ty)),
        };
        quote!(#[doc = #docs] pub #name: #ty)
    }

    fn info(&self) -> TokenStream {
        let name = plain(self.name);
        if let Some(state) = self.entity {
            return quote!(::gesta::FieldInfo::id::<<#state as ::gesta::Decider>::Id>(#name));
        }
        let rust_type = self.ty.to_token_stream().to_string().replace(' ', "");
        quote!(::gesta::FieldInfo::new(#name, #rust_type))
    }
}

/// The state in `At<State>`.
fn entity_of(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "At")?;
    generic(&last.arguments, 0)
}

/// The error in `Result<…, Error>`.
fn error_of(output: &ReturnType) -> Result<&Type> {
    let error = match output {
        ReturnType::Type(_, ty) => match &**ty {
            Type::Path(path) => path
                .path
                .segments
                .last()
                .filter(|segment| segment.ident == "Result")
                .and_then(|segment| generic(&segment.arguments, 1)),
            _ => None,
        },
        ReturnType::Default => None,
    };
    error.ok_or_else(|| Error::new_spanned(output, SHAPE))
}

fn generic(arguments: &PathArguments, at: usize) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return None };
    match arguments.args.get(at)? {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
}

fn is_doc(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc")
}

/// `reverse_transfer` as `ReverseTransfer`.
fn pascal(name: &str) -> String {
    let words = name.split('_').filter(|word| !word.is_empty());
    words.fold(String::new(), |mut pascal, word| {
        let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        pascal.push_str(&first.to_uppercase());
        pascal + rest
    })
}
