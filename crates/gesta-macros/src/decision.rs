//! `#[decision]`: a function as an implementation of `Decision`.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Error, Expr, FnArg, GenericArgument, Ident, ItemFn, LitStr, Meta, Pat, PathArguments, Result,
    ReturnType, Token, Type, parse_quote,
};

use crate::attributes::{check_tag_key, plain};
use crate::fields::{SCHEMARS, SERDE, field_info};

const SHAPE: &str = "a decision is a function such as `fn transfer(from: &At<Account>, to: &At<Account>, amount: u64) -> Result<Vec<NewFact>, Refused>`";
const REFERENCE: &str = "a reference is a state that the decision reads: `&At<State>`, or `&[At<State>]` for a list; take an input by value, such as `note: String`; for any other boundary, write `impl gesta::Decision` by hand";

/// The most states that one decision can read: the size of the largest tuple that is a boundary.
const STATES_MAX: usize = 8;

/// A parameter of the function.
struct Parameter<'a> {
    name: &'a Ident,
    kind: Kind<'a>,
}

enum Kind<'a> {
    /// An input, by value.
    Input(&'a Type),
    /// `&At<State>`: an entity. Its id is an input.
    Entity(&'a Type),
    /// `&[At<State>]` or `&Vec<At<State>>`: a list of entities. Their ids are an input.
    Entities(&'a Type),
    /// `#[tag(…)] …: &At<State>`: the events with these tags. No input of its own.
    Tagged(&'a Type, Vec<TagArgument>),
}

/// `key` or `key = value` in `#[tag(…)]`. The value is an expression over the decision's inputs.
struct TagArgument {
    key: LitStr,
    value: Expr,
}

impl Parse for TagArgument {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(LitStr) {
            let key = input.parse::<LitStr>()?;
            input.parse::<Token![=]>()?;
            return Ok(Self { key, value: input.parse()? });
        }
        let name = input.parse::<Ident>()?;
        let key = LitStr::new(&plain(&name), name.span());
        let value =
            if input.parse::<Option<Token![=]>>()?.is_some() { input.parse()? } else { parse_quote!(#name) };
        Ok(Self { key, value })
    }
}

/// What stands in `#[decision(…)]`.
#[derive(Default)]
pub(crate) struct Arguments {
    schema: bool,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self::default());
        }
        let word = input.parse::<Ident>()?;
        if word != "schema" || !input.is_empty() {
            return Err(Error::new(word.span(), "`#[decision]` takes no argument but `schema`"));
        }
        if !cfg!(feature = "schema") {
            return Err(Error::new(word.span(), "`schema` needs the cargo feature `schema` of `gesta`"));
        }
        Ok(Self { schema: true })
    }
}

pub(crate) fn expand(arguments: &Arguments, function: &ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    if signature.asyncness.is_some() || !signature.generics.params.is_empty() {
        let message =
            format!("{SHAPE}: it is neither async nor generic, since it runs again after a conflict");
        return Err(Error::new_spanned(signature, message));
    }
    let parameters = signature.inputs.iter().map(Parameter::of).collect::<Result<Vec<_>>>()?;
    let states = parameters.iter().filter(|parameter| parameter.is_state()).collect::<Vec<_>>();
    if !(1..=STATES_MAX).contains(&states.len()) {
        let message = format!("{SHAPE}: it reads one to {STATES_MAX} states, each `&At<State>`");
        return Err(Error::new_spanned(&signature.inputs, message));
    }
    let error = error_of(&signature.output)?;
    let docs = function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let (visibility, name) = (&function.vis, &signature.ident);
    let decision = format_ident!("{}", pascal(&plain(name)), span = name.span());
    let fields = parameters.iter().filter_map(Parameter::field);
    let infos = parameters.iter().filter_map(Parameter::info);
    let types = states.iter().filter_map(|state| state.boundary_type()).collect::<Vec<_>>();
    let inputs = parameters.iter().filter(|parameter| !matches!(parameter.kind, Kind::Tagged(..)));
    let inputs = inputs.map(|parameter| parameter.name).collect::<Vec<_>>();
    let places = states.iter().filter_map(|state| state.boundary());
    let names = states.iter().map(|state| state.name);
    let checks = states.iter().filter_map(|state| state.check());
    let bounds = states.iter().filter_map(|state| state.bound()).collect::<Vec<_>>();
    let bounds = quote!(where #(#bounds),*);
    let (described, schema) = described(arguments);
    let arguments = parameters.iter().map(Parameter::argument);
    let function = plain_function(function, &parameters);
    Ok(quote! {
        #function

        #(#checks)*

        #(#docs)*
        #[derive(Debug, Clone, ::gesta::__private::serde::Deserialize)]
        #described
        #[serde(crate = #SERDE, deny_unknown_fields)]
        #visibility struct #decision #bounds { #(#fields),* }

        #[automatically_derived]
        impl ::gesta::Decision for #decision #bounds {
            type State = (#(#types,)*);
            type Error = #error;

            const FIELDS: &'static [::gesta::FieldInfo] = &[#(#infos),*];

            const REFUSALS: &'static [::gesta::RefusalInfo] = {
                #[allow(unused_imports)]
                use ::gesta::__private::NoRefusals as _;
                ::gesta::__private::Refusals::<#error>::OF
            };

            #schema

            #[allow(unused_variables)]
            fn boundary(&self) -> Self::State {
                let Self { #(#inputs),* } = self;
                (#(#places,)*)
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

/// The attributes of the struct and the method of the decision that give its schema.
fn described(arguments: &Arguments) -> (TokenStream, TokenStream) {
    if !arguments.schema {
        return (TokenStream::new(), TokenStream::new());
    }
    let attributes = quote! {
        #[derive(::gesta::__private::schemars::JsonSchema)]
        #[schemars(crate = #SCHEMARS)]
    };
    let method = quote! {
        fn schema() -> ::std::option::Option<::gesta::__private::Json> {
            ::std::option::Option::Some(::gesta::__private::schema_of::<Self>())
        }
    };
    (attributes, method)
}

impl<'a> Parameter<'a> {
    fn of(argument: &'a FnArg) -> Result<Self> {
        let FnArg::Typed(argument) = argument else { return Err(Error::new_spanned(argument, SHAPE)) };
        let Pat::Ident(pattern) = &*argument.pat else {
            return Err(Error::new_spanned(&argument.pat, SHAPE));
        };
        let tag = argument.attrs.iter().find(|attribute| attribute.path().is_ident("tag"));
        let kind = match (&*argument.ty, tag) {
            (Type::Reference(reference), tag) => Self::state(&reference.elem, tag)?,
            (ty, None) => Kind::Input(ty),
            (ty, Some(_)) => {
                return Err(Error::new_spanned(ty, "`#[tag(…)]` belongs on a state, `&At<State>`"));
            }
        };
        Ok(Self { name: &pattern.ident, kind })
    }

    /// What a reference to that type is.
    fn state(ty: &'a Type, tag: Option<&Attribute>) -> Result<Kind<'a>> {
        match (state_of(ty), list_of(ty).and_then(state_of), tag) {
            (Some(state), _, None) => Ok(Kind::Entity(state)),
            (Some(state), _, Some(tag)) => Ok(Kind::Tagged(state, tag_arguments(tag)?)),
            (None, Some(state), None) => Ok(Kind::Entities(state)),
            (None, Some(_), Some(tag)) => {
                let message = "a list of states is a list of entities: put `#[tag(…)]` on one `&At<State>`";
                Err(Error::new_spanned(tag, message))
            }
            (None, None, _) => Err(Error::new_spanned(ty, REFERENCE)),
        }
    }

    const fn is_state(&self) -> bool {
        !matches!(self.kind, Kind::Input(_))
    }

    /// The field of the decision's struct.
    fn field(&self) -> Option<TokenStream> {
        let name = self.name;
        let (docs, read, ty) = match &self.kind {
            Kind::Input(ty) => (format!("The input `{}`.", plain(name)), None, quote!(#ty)),
            Kind::Entity(state) => {
                let id = quote!(<#state as ::gesta::Decider>::Id);
                (format!("The id of `{}`.", plain(name)), Some("::gesta::__private::read_id"), id)
            }
            Kind::Entities(state) => {
                let ids = quote!(::std::vec::Vec<<#state as ::gesta::Decider>::Id>);
                (format!("The ids of `{}`.", plain(name)), Some("::gesta::__private::read_ids"), ids)
            }
            Kind::Tagged(..) => return None,
        };
        let read = read.map(|read| quote!(#[serde(deserialize_with = #read)]));
        Some(quote!(#[doc = #docs] #read pub #name: #ty))
    }

    /// The check that the state is one that the decision can read: one error at its place if not.
    fn check(&self) -> Option<TokenStream> {
        let (state, check) = match &self.kind {
            Kind::Entity(state) | Kind::Entities(state) => (state, quote!(entity)),
            Kind::Tagged(state, _) => (state, quote!(tagged)),
            Kind::Input(_) => return None,
        };
        let check = quote_spanned!(state.span()=> ::gesta::__private::#check::<#state>());
        Some(quote!(const _: () = #check;))
    }

    /// The bound under which an item takes for given what [`Self::check`] has found, so that it has no error of its own.
    fn bound(&self) -> Option<TokenStream> {
        match &self.kind {
            Kind::Entity(state) | Kind::Entities(state) => {
                Some(quote!(for<'of> #state: ::gesta::__private::Entity<'of>))
            }
            Kind::Tagged(state, _) => Some(quote!(for<'of> #state: ::gesta::__private::Tagged<'of>)),
            Kind::Input(_) => None,
        }
    }

    fn info(&self) -> Option<TokenStream> {
        let name = plain(self.name);
        Some(match &self.kind {
            Kind::Input(ty) => field_info(&name, ty),
            Kind::Entity(state) => {
                quote!(::gesta::FieldInfo::id::<<#state as ::gesta::Decider>::Id>(#name))
            }
            Kind::Entities(state) => quote! {
                ::gesta::FieldInfo::new(#name, "Vec<id>")
                    .of_category(::std::option::Option::Some(<<#state as ::gesta::Decider>::Id as ::gesta::Key>::KIND))
            },
            Kind::Tagged(..) => return None,
        })
    }

    fn boundary_type(&self) -> Option<TokenStream> {
        match &self.kind {
            Kind::Input(_) => None,
            Kind::Entity(state) | Kind::Tagged(state, _) => Some(quote!(::gesta::At<#state>)),
            Kind::Entities(state) => Some(quote!(::std::vec::Vec<::gesta::At<#state>>)),
        }
    }

    /// The expression that makes this part of the boundary. The inputs are in scope, by reference.
    fn boundary(&self) -> Option<TokenStream> {
        let name = self.name;
        match &self.kind {
            Kind::Input(_) => None,
            Kind::Entity(state) => Some(quote!(<#state as ::gesta::Decider>::at(#name))),
            Kind::Entities(state) => Some(
                quote!(#name.iter().map(<#state as ::gesta::Decider>::at).collect::<::std::vec::Vec<_>>()),
            ),
            Kind::Tagged(state, tags) => {
                let tags = tags.iter().map(|TagArgument { key, value }| quote!((#key, &(#value))));
                Some(quote!(::gesta::At::<#state>::tagged_all(&[#(#tags),*])))
            }
        }
    }

    /// The argument for the function.
    fn argument(&self) -> TokenStream {
        let name = self.name;
        if self.is_state() { quote!(#name) } else { quote!(self.#name) }
    }
}

fn tag_arguments(attribute: &Attribute) -> Result<Vec<TagArgument>> {
    let usage =
        "name the tag and its value: `#[tag(email)]` for the input `email`, or `#[tag(student = id)]`";
    if !matches!(attribute.meta, Meta::List(_)) {
        return Err(Error::new_spanned(attribute, usage));
    }
    let tags = attribute.parse_args_with(Punctuated::<TagArgument, Token![,]>::parse_terminated)?;
    if tags.is_empty() {
        return Err(Error::new_spanned(attribute, usage));
    }
    for tag in &tags {
        check_tag_key(&tag.key)?;
    }
    Ok(tags.into_iter().collect())
}

/// The function for the compiler: without `#[tag(…)]`, and without a warning for inputs that only a tag uses.
fn plain_function(function: &ItemFn, parameters: &[Parameter<'_>]) -> ItemFn {
    let mut function = function.clone();
    for argument in &mut function.sig.inputs {
        if let FnArg::Typed(argument) = argument {
            argument.attrs.retain(|attribute| !attribute.path().is_ident("tag"));
        }
    }
    let tagged = parameters.iter().flat_map(|parameter| match &parameter.kind {
        Kind::Tagged(_, tags) => tags.as_slice(),
        _ => &[],
    });
    let values = tagged.map(|tag| tag.value.to_token_stream()).collect::<TokenStream>();
    let inputs = parameters.iter().filter(|parameter| matches!(parameter.kind, Kind::Input(_)));
    for parameter in inputs.filter(|input| holds(values.clone(), input.name)) {
        let name = parameter.name;
        function.block.stmts.insert(0, parse_quote!(let _ = &#name;));
    }
    function
}

/// True if the name occurs among the tokens.
fn holds(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => holds(group.stream(), name),
        _ => false,
    })
}

/// The state in `At<State>`.
fn state_of(ty: &Type) -> Option<&Type> {
    generic_of(ty, "At", 0)
}

/// The element of `Vec<Element>` or `[Element]`.
fn list_of(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Slice(slice) => Some(&slice.elem),
        ty => generic_of(ty, "Vec", 0),
    }
}

/// The error in `Result<…, Error>`.
fn error_of(output: &ReturnType) -> Result<&Type> {
    let error = match output {
        ReturnType::Type(_, ty) => generic_of(ty, "Result", 1),
        ReturnType::Default => None,
    };
    error.ok_or_else(|| Error::new_spanned(output, SHAPE))
}

/// The type argument at that index, if the type's last segment has that name.
fn generic_of<'a>(ty: &'a Type, name: &str, at: usize) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.get(at)? {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
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
